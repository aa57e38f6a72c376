// SPDX-License-Identifier: Apache-2.0
#include "data/experiments/protocol.h"

#include <algorithm>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <unordered_set>
#include <utility>

#include "data/sets/cifar.h"
#include "data/sets/folder.h"
#include "data/sets/idx.h"
#include "data/sets/list_file.h"
#include "engine/text/counted.h"
#include "engine/text/utf8.h"
#include "kernels/core/check.h"

namespace hh::data {
namespace {

constexpr const char* kDebianFashionMnist = "/usr/share/datasets/fashion-mnist";

std::vector<std::int64_t> range(std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> indices(std::size_t(end - begin));
  std::iota(indices.begin(), indices.end(), begin);
  return indices;
}

void open_fashion(Experiment& e, const ProtocolOptions& options) {
  e.dataset = open_fashion_mnist(options.data.empty() ? kDebianFashionMnist : options.data);
  e.split = stratified_split(e.dataset->labels(), 100, 500, options.seed);
  // By index, not class after class, so that ties between classes are broken by no class order.
  std::sort(e.split.database.begin(), e.split.database.end());
  TransformSpec spec;
  spec.size = options.size;
  spec.channels = options.channels;
  // At 32 the 28 x 28 pixels get a border of two zeros; other sides are resized to.
  spec.resize = options.size == 32 ? Resize::kNone : Resize::kExact;
  spec.resize_to = options.size;
  spec.mean = {0.2860f, 0.2860f, 0.2860f};
  spec.std = {0.3530f, 0.3530f, 0.3530f};
  e.train_transform = e.eval_transform = spec;
}

void open_cifar(Experiment& e, const ProtocolOptions& options) {
  e.dataset = open_cifar10(options.data);
  const bool large = e.protocol.name == "cifar10-2";
  e.split =
      stratified_split(e.dataset->labels(), large ? 1000 : 100, large ? 5000 : 500, options.seed);
  if (large) {
    e.split.database = e.split.train;
  } else if (e.protocol.name == "cifar10-1") {
    e.split.database.insert(e.split.database.begin(), e.split.train.begin(), e.split.train.end());
  }
  TransformSpec spec;  // no crop and no flip, training included
  spec.size = options.size;
  spec.channels = options.channels;
  spec.resize = Resize::kExact;
  spec.resize_to = options.size;
  e.train_transform = e.eval_transform = spec;
}

void set_file_transforms(Experiment& e, const ProtocolOptions& options) {
  e.train_transform = image_train_transform(options.size, options.channels);
  e.eval_transform = image_eval_transform(options.size, options.channels);
}

/// One data set of the three lists one after another: an image that is in two of them is two items.
void open_list_files(Experiment& e, const ProtocolOptions& options) {
  std::vector<ImageList> lists;
  std::vector<std::int64_t> ends;
  std::unordered_set<std::string> queries;
  std::int64_t end = 0;
  for (const char* name : {"test.txt", "train.txt", "database.txt"}) {
    if (!std::filesystem::exists(options.data / name)) {
      throw std::runtime_error((options.data / name).string() +
                               ": it is missing: the folder of the data holds the lists test.txt, "
                               "train.txt and database.txt");
    }
    lists.push_back(read_list(options.data / name, options.list_labels));
    const auto& paths = lists.back().paths;
    if (lists.size() == 1) {
      queries.insert(paths.begin(), paths.end());
    } else {
      const auto shared = std::count_if(paths.begin(), paths.end(),
                                        [&](const auto& p) { return queries.contains(p); });
      if (shared > 0) {
        e.warnings.push_back(counted(shared, "image") + " of " + name +
                             (shared == 1 ? " is a query" : " are queries") + " too (in test.txt)");
      }
    }
    end += std::int64_t(paths.size());
    ends.push_back(end);
  }
  e.dataset = open_lists(std::move(lists), options.image_root, decode_options(options));
  e.split = {.query = range(0, ends[0]),
             .train = range(ends[0], ends[1]),
             .database = range(ends[1], ends[2])};
  set_file_transforms(e, options);
}

/// Nothing can be told apart with one class, and mAP would be 1. Mostly the folder above was given.
void refuse_single_class(const FileDataset& images, const std::filesystem::path& data) {
  const std::string start = data.string() + ": it holds one class alone, " +
                            images.class_names()[0] + ", and at least two are needed: ";
  // The deepest folder that has all images, and those in it that have some.
  std::filesystem::path above = std::filesystem::path(images.name(0)).parent_path();
  std::set<std::string> folders;
  for (std::int64_t i = 0; i < images.size(); ++i) {
    while (!images.name(i).starts_with(above.string() + "/")) above = above.parent_path();
  }
  for (std::int64_t i = 0; i < images.size(); ++i) {
    const auto below = std::filesystem::path(images.name(i)).lexically_relative(above);
    if (below.has_parent_path()) folders.insert(below.begin()->string());
  }
  if (folders.size() < 2) {
    throw std::runtime_error(start + "put the images of other classes into folders beside it");
  }
  constexpr std::size_t kShown = 3;
  std::string shown;
  for (auto name = folders.begin(); name != folders.end(); ++name) {
    if (std::distance(folders.begin(), name) == kShown) {
      shown += ", ...";
      break;
    }
    shown += (shown.empty() ? "" : ", ") + as_utf8(*name);
  }
  const std::string deeper = (data / above).string();
  throw std::runtime_error(start + "its sub-folders (" + shown +
                           ") look like classes, so the images lie deeper than they should: give " +
                           deeper + " (data.path=" + deeper + ")");
}

void open_class_folders(Experiment& e, const ProtocolOptions& options) {
  auto images = open_folder(options.data, decode_options(options));
  if (images->classes() < 2) refuse_single_class(*images, options.data);
  e.dataset = std::move(images);
  std::vector<std::int64_t> count(std::size_t(e.dataset->classes()), 0);
  for (std::int64_t i = 0; i < e.dataset->size(); ++i) {
    ++count[std::size_t(e.dataset->labels().first_class(i))];
  }
  // A share of the smallest class, so that every class gives the same number.
  const auto least = std::min_element(count.begin(), count.end());
  const std::int64_t smallest = *least;
  if (smallest < 2) {
    throw std::runtime_error(
        (options.data / e.dataset->class_names()[std::size_t(least - count.begin())]).string() +
        ": this class folder holds 1 image, and a class needs at least 2: one of them becomes a "
        "query, which has to find the others. Add images or remove the folder");
  }
  const std::int64_t query = options.query_per_class > 0 ? options.query_per_class
                                                         : std::max<std::int64_t>(smallest / 10, 1);
  e.split = stratified_split(e.dataset->labels(), query, options.train_per_class, options.seed,
                             e.dataset->class_names());
  if (options.train_per_class == 0) {
    e.split.train = e.split.database;
  } else {
    e.split.database.insert(e.split.database.end(), e.split.train.begin(), e.split.train.end());
  }
  std::sort(e.split.database.begin(), e.split.database.end());
  set_file_transforms(e, options);
}

void check_counts(Experiment& e, bool allow) {
  const Protocol& p = e.protocol;
  const auto check = [&](std::int64_t wanted, std::int64_t found, const char* one) {
    if (wanted < 0 || wanted == found) return;
    const std::string text =
        p.name + ": " + counted(found, one) + ", and the protocol has " + std::to_string(wanted);
    if (!allow) {
      throw std::runtime_error(text +
                               " (--set data.allow_other_counts=true goes on; results then "
                               "compare with no published ones)");
    }
    e.warnings.push_back(text);
  };
  check(p.classes, e.dataset->classes(), "classes");
  check(p.query, std::int64_t(e.split.query.size()), "query image");
  check(p.train, std::int64_t(e.split.train.size()), "training image");
  check(p.database, std::int64_t(e.split.database.size()), "database image");
}

}  // namespace

const std::vector<Protocol>& protocols() {
  static const std::vector<Protocol> all = {
      {"fashion_mnist", "Fashion-MNIST: 100 query and 500 training images a class, the rest",  //
       10, 1000, 5000, 64000, -1, -1},
      {"cifar10", "CIFAR-10: 100 query and 500 training images a class, the rest as database", 10,
       1000, 5000, 54000, 10000, -1},
      {"cifar10-1", "CIFAR-10: as cifar10, with the training images in the database",  //
       10, 1000, 5000, 59000, 10000, -1},
      {"cifar10-2", "CIFAR-10: 1000 query images a class, the rest is training set and database",
       10, 10000, 50000, 50000, 10000, -1},
      {"nuswide_21", "NUS-WIDE, its 21 most frequent concepts, by list files",  //
       21, 2100, 10500, 193734, 10500, 5000},
      {"nuswide_21_m", "NUS-WIDE 21, the other common lists", 21, 2100, 10500, -1, 10500, 5000},
      {"nuswide_81_m", "NUS-WIDE, all 81 concepts, by list files",  //
       81, 5000, 10000, 168692, 10000, 5000},
      {"coco", "MS COCO, 80 categories, by list files", 80, 5000, 10000, -1, 10000, 5000},
      {"imagenet", "ImageNet-100, by list files", 100, 5000, 13000, 128503, 13000, 1000},
      {"lists", "your own train.txt, test.txt and database.txt: path l_1 ... l_n a line",  //
       -1, -1, -1, -1, -1, -1},
      {"folder", "your own images, a folder per class: a tenth of each as queries",  //
       -1, -1, -1, -1, -1, -1},
  };
  return all;
}

const Protocol& find_protocol(const std::string& name) {
  std::string names;
  for (const Protocol& p : protocols()) {
    if (p.name == name) return p;
    names += " " + p.name;
  }
  throw std::invalid_argument("there is no protocol \"" + name + "\"; there are:" + names);
}

bool is_of_lists(const std::string& protocol) {
  return protocol != "fashion_mnist" && protocol != "folder" && !protocol.starts_with("cifar10");
}

DecodeOptions decode_options(const ProtocolOptions& options) {
  DecodeOptions decode;
  decode.channels = options.channels;
  decode.exif_orientation = options.exif_orientation;
  decode.max_pixels = options.max_pixels;
  if (options.scaled_decode) {
    decode.scaled_shorter_side = image_eval_transform(options.size).resize_to;
  }
  return decode;
}

bool is_of_files(const std::string& protocol) {
  return is_of_lists(protocol) || protocol == "folder";
}

Experiment open_protocol(const std::string& name, const ProtocolOptions& options) {
  Experiment e;
  e.protocol = find_protocol(name);
  HH_REQUIRE(options.channels == 1 || options.channels == 3,
             "channels = " << options.channels << ": use 1 or 3");
  HH_REQUIRE(options.size >= 1 && options.size <= 4096,
             "size = " << options.size << ": use 1 to 4096");
  HH_REQUIRE(!options.data.empty() || name == "fashion_mnist",
             "protocol " << name << ": the folder of its data isn't given; set data.path");
  if (name == "fashion_mnist") {
    open_fashion(e, options);
  } else if (name.starts_with("cifar10")) {
    open_cifar(e, options);
  } else if (name == "folder") {
    open_class_folders(e, options);
  } else {
    open_list_files(e, options);
  }
  const std::vector<std::string>& notes = e.dataset->notes();
  e.warnings.insert(e.warnings.begin(), notes.begin(), notes.end());
  check_counts(e, options.allow_other_counts);
  check_split(e.split, e.dataset->size());
  return e;
}

std::string describe(const Experiment& e) {
  std::ostringstream out;
  const auto count = [](std::int64_t found, std::int64_t wanted) {
    const std::string text = std::to_string(found);
    if (wanted < 0) return text;
    return text +
           (found == wanted ? " (as the protocol)" : " (protocol: " + std::to_string(wanted) + ")");
  };
  const Protocol& p = e.protocol;
  std::int64_t labels = 0;
  for (const std::int64_t i : e.split.train) labels += e.dataset->labels().count(i);
  out << "protocol   " << p.name << ": " << p.summary << "\n"
      << "classes    " << count(e.dataset->classes(), p.classes) << ", "
      << double(labels) / double(std::max<std::size_t>(e.split.train.size(), 1))
      << " per training image\n"
      << "query      " << count(std::int64_t(e.split.query.size()), p.query) << "\n"
      << "train      " << count(std::int64_t(e.split.train.size()), p.train)
      << ", one bank row each";
  if (p.reference_bank_rows >= 0 && p.reference_bank_rows != std::int64_t(e.split.train.size())) {
    out << " (the authors' bank has " << p.reference_bank_rows << ")";
  }
  out << "\ndatabase   " << count(std::int64_t(e.split.database.size()), p.database) << "\n"
      << "mAP cut    " << (p.top_k < 0 ? "all" : std::to_string(p.top_k)) << "\n";
  for (const std::string& w : e.warnings) out << "warning    " << one_line(w) << "\n";
  return out.str();
}

}  // namespace hh::data
