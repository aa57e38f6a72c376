// SPDX-License-Identifier: Apache-2.0
// hybridhash._core: the C library as Python sees it. What is convenient is in hybridhash/__init__.py;
// here are arrays, handles and errors. The interpreter's lock is released while the library works.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <hybridhash/hybridhash.hpp>
#include <optional>
#include <string>
#include <vector>

#include "api/python/calls.h"
#include "api/python/texts.h"

namespace nb = nanobind;
using namespace nb::literals;
using hh::python::Unlocked;

namespace {

using Bytes = nb::ndarray<const std::uint8_t, nb::device::cpu>;
using Rows = nb::ndarray<const std::uint8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Ids = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Outputs = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Words = nb::ndarray<const std::uint64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

/// Closed without the interpreter's lock: closing waits for a GPU that another thread may be using,
/// which asks for the lock to tell its progress.
struct Model : hybridhash::Model {
  using hybridhash::Model::Model;
  Model(Model&&) = default;
  ~Model() {
    const Unlocked unlocked{Unlocked::AtAnyTime{}};
    const hybridhash::Model closed(std::move(*this));
  }
};

/// A NumPy array that owns what was a vector.
template <class T>
nb::ndarray<nb::numpy, T> numpy(std::vector<T> values, std::initializer_list<std::size_t> shape) {
  auto* const kept = new std::vector<T>(std::move(values));
  nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return nb::ndarray<nb::numpy, T>(kept->data(), shape, owner);
}

/// A NumPy array that looks into `data`, which `owner` keeps.
template <class T>
nb::ndarray<nb::numpy, const T> view(const T* data, std::initializer_list<std::size_t> shape,
                                     nb::handle owner) {
  return nb::ndarray<nb::numpy, const T>(data, shape, owner);
}

hh_image image_of(const Bytes& array, std::size_t axis, std::int64_t first) {
  const bool has_channels = array.ndim() == axis + 3;
  const std::int64_t channels = has_channels ? std::int64_t(array.shape(axis + 2)) : 1;
  const auto side = [&](std::size_t i) {
    const std::size_t extent = array.shape(axis + i);
    return extent > 0x7fffffff ? std::int32_t(-1) : std::int32_t(extent);
  };
  return {.pixels = array.data() + first,
          .height = side(0),
          .width = side(1),
          .channels = std::int32_t(channels),
          .row_stride = array.stride(axis),
          .pixel_stride = array.stride(axis + 1),
          .channel_stride = has_channels ? array.stride(axis + 2) : 1};
}

void check_channels(const Bytes& array) {
  const std::size_t channels = array.shape(array.ndim() - 1);
  if (array.ndim() == 2 || channels == 1 || channels == 3) return;
  std::string shape;
  for (std::size_t i = 0; i < array.ndim(); ++i) {
    shape += (i == 0 ? "" : ", ") + std::to_string(array.shape(i));
  }
  throw hybridhash::Error(
      HH_INVALID_ARGUMENT,
      "an array [" + shape + "] has " + std::to_string(channels) +
          " channels, which come last: use [h, w], [h, w, c] or [n, h, w, c] with 1 (grey) or 3 "
          "(RGB), so [n, h, w, 1] for many grey images");
}

/// The images of arrays: [h, w], [h, w, c] one each, [n, h, w, c] many.
std::vector<hh_image> images_of(const std::vector<Bytes>& arrays) {
  std::vector<hh_image> images;
  for (const Bytes& array : arrays) {
    if (array.ndim() >= 2 && array.ndim() <= 4) check_channels(array);
    if (array.ndim() == 4) {
      for (std::size_t i = 0; i < array.shape(0); ++i) {
        images.push_back(image_of(array, 1, std::int64_t(i) * array.stride(0)));
      }
    } else if (array.ndim() == 2 || array.ndim() == 3) {
      images.push_back(image_of(array, 0, 0));
    } else {
      throw hybridhash::Error(HH_INVALID_ARGUMENT,
                              "an array of " + std::to_string(array.ndim()) +
                                  " axes; images are [h, w], [h, w, c] or [n, h, w, c]");
    }
  }
  return images;
}

/// Calls into Python; false when it raised: then the error stays set, for when the library has
/// returned.
template <class F>
bool called(F&& function) {
  try {
    function();
    return true;
  } catch (nb::python_error& error) {
    error.restore();
    return false;
  }
}

/// Asks Python for signals (Ctrl-C) and, if there is one, the caller's function.
struct Progress {
  nb::object function;
  bool failed = false;

  static int call(std::int64_t done, std::int64_t total, void* user) {
    auto* const self = static_cast<Progress*>(user);
    const nb::gil_scoped_acquire lock;
    self->failed = PyErr_CheckSignals() != 0 ||
                   (!self->function.is_none() && !called([&] { self->function(done, total); }));
    return int(self->failed || hh::python::calls.must_stop());
  }
};

/// Runs a call of the library without the lock; a Python error of a callback goes on.
template <class F>
void run(Progress& progress, F&& call) {
  try {
    const Unlocked unlocked;
    call();
  } catch (const hybridhash::Error&) {
    if (progress.failed) throw nb::python_error();
    throw;
  }
}

hh_encode_options encode_options(int batch, int workers, bool skip_bad, bool keep_outputs,
                                 double max_megapixels, Progress& progress) {
  hh_encode_options options = HH_ENCODE_OPTIONS_INIT;
  options.batch = batch;
  options.workers = workers;
  options.skip_bad = skip_bad;
  options.keep_outputs = keep_outputs;
  options.max_megapixels = max_megapixels;
  options.progress = Progress::call;
  options.user = &progress;
  return options;
}

nb::tuple encode(const Model& model, const std::vector<Bytes>& arrays, int batch, int workers,
                 nb::object progress) {
  const std::vector<hh_image> images = images_of(arrays);
  Progress told{std::move(progress)};
  const hh_encode_options options = encode_options(batch, workers, false, false, 0, told);
  std::vector<std::uint8_t> codes;
  std::vector<float> outputs;
  run(told, [&] { codes = model.encode(images, &outputs, options); });
  const std::size_t n = images.size(), bits = std::size_t(model.bits());
  return nb::make_tuple(numpy(std::move(codes), {n, (bits + 7) / 8}),
                        numpy(std::move(outputs), {n, bits}));
}

nb::ndarray<nb::numpy, std::uint8_t> transform(const Model& model,
                                               const std::vector<Bytes>& arrays) {
  const std::vector<hh_image> images = images_of(arrays);
  std::vector<std::uint8_t> pixels;
  {
    const Unlocked unlocked;
    pixels = model.transform(images);
  }
  const auto side = std::size_t(model.image_size());
  return numpy(std::move(pixels), {images.size(), side, side, std::size_t(model.channels())});
}

hybridhash::Codes encode_source(const Model& model, const std::vector<std::string>& files,
                                const std::string& kind, const std::string& place,
                                const std::string& image_root, int batch, int workers,
                                bool skip_bad, bool keep_outputs, double max_megapixels,
                                nb::object progress) {
  const auto paths = hybridhash::detail::pointers(files);
  hh_source source = HH_SOURCE_INIT;
  if (kind == "files") {
    source.files = paths.data();
    source.file_count = std::int64_t(paths.size());
  } else {
    (kind == "folder"         ? source.folder
     : kind == "class_folder" ? source.class_folder
     : kind == "list"         ? source.list
                              : source.part) = hybridhash::detail::c_text(place);
  }
  if (!image_root.empty()) source.image_root = hybridhash::detail::c_text(image_root);
  Progress told{std::move(progress)};
  std::optional<hybridhash::Codes> codes;
  run(told, [&] {
    codes = model.encode_source(
        source, encode_options(batch, workers, skip_bad, keep_outputs, max_megapixels, told));
  });
  return std::move(*codes);
}

hybridhash::Codes make_codes(const Rows& codes, int bits, std::optional<Ids> ids,
                             std::optional<Words> labels, int classes,
                             const std::optional<std::vector<std::string>>& class_names,
                             const std::optional<std::vector<std::string>>& names,
                             const std::optional<std::vector<std::string>>& metadata,
                             std::optional<Outputs> outputs, const std::string& model_hash) {
  using hybridhash::detail::check_size;
  const std::size_t n = codes.shape(0);
  check_size(codes.shape(1), hybridhash::code_bytes(bits), "codes, bytes of a row");
  hh_codes_data data = HH_CODES_DATA_INIT;
  data.bits = bits;
  data.count = std::int64_t(n);
  data.codes = codes.data();
  data.model_hash = hybridhash::detail::c_text(model_hash);
  data.classes = classes;
  if (ids) {
    check_size(ids->shape(0), n, "ids");
    data.ids = ids->data();
  }
  if (labels) {
    check_size(labels->shape(0), n, "labels");
    check_size(labels->shape(1), (std::size_t(classes) + 63) / 64, "labels, words of a row");
    data.labels = labels->data();
  }
  if (outputs) {
    check_size(outputs->shape(0), n, "outputs");
    check_size(outputs->shape(1), std::size_t(bits), "outputs, values of a row");
    data.outputs = outputs->data();
  }
  std::vector<const char*> class_name_texts, name_texts, metadata_texts;
  const auto texts = [&](const std::optional<std::vector<std::string>>& from, std::size_t wanted,
                         const char* what, std::vector<const char*>& kept) -> const char* const* {
    if (!from) return nullptr;
    check_size(from->size(), wanted, what);
    kept = hybridhash::detail::pointers(*from);
    return kept.data();
  };
  data.class_names = texts(class_names, std::size_t(classes), "class_names", class_name_texts);
  data.names = texts(names, n, "names", name_texts);
  data.metadata = texts(metadata, n, "metadata", metadata_texts);
  return hybridhash::Codes(data);
}

/// File names are bytes: what isn't UTF-8 is kept as Python keeps it (PEP 383).
nb::object text(const char* bytes) { return nb::steal(PyUnicode_DecodeFSDefault(bytes)); }

nb::object texts(const char* const* from, std::int64_t count) {
  if (from == nullptr) return nb::none();
  nb::list list;
  for (std::int64_t i = 0; i < count; ++i) list.append(text(from[i]));
  return list;
}

nb::tuple search(const hybridhash::Index& index, std::optional<Rows> codes, std::optional<Ids> ids,
                 std::optional<Outputs> outputs, std::int64_t k, std::optional<int> radius,
                 const std::vector<std::string>& filters, bool exclude_self, std::int64_t rerank,
                 const std::string& method, int threads) {
  using hybridhash::detail::check_size;
  hh_queries queries = HH_QUERIES_INIT;
  queries.count = std::int64_t(codes ? codes->shape(0) : ids ? ids->shape(0) : 0);
  if (codes) {
    check_size(codes->shape(1), hybridhash::code_bytes(index.bits()), "codes, bytes of a row");
    queries.codes = codes->data();
  }
  if (ids) {
    check_size(ids->shape(0), std::size_t(queries.count), "ids");
    queries.ids = ids->data();
  }
  if (outputs) {
    check_size(outputs->shape(0), std::size_t(queries.count), "outputs");
    check_size(outputs->shape(1), std::size_t(index.bits()), "outputs, values of a row");
    queries.outputs = outputs->data();
  }
  const auto texts_of = hybridhash::detail::pointers(filters);
  hh_search_options options = HH_SEARCH_OPTIONS_INIT;
  options.k = k;
  if (radius && *radius < 0) {
    throw hybridhash::Error(HH_INVALID_ARGUMENT,
                            "radius = " + std::to_string(*radius) + ": use 0 or more");
  }
  options.radius = radius.value_or(-1);
  options.filters = texts_of.data();
  options.filter_count = std::int64_t(texts_of.size());
  options.exclude_self = exclude_self;
  options.rerank = rerank;
  options.method = hybridhash::detail::c_text(method);
  options.threads = threads;
  std::optional<hybridhash::Hits> hits;
  {
    const Unlocked unlocked;
    hits.emplace(index.search(queries, options));
  }
  const hh_hits_data& data = hits->data();
  const auto n = std::size_t(data.count), total = std::size_t(data.offsets[n]);
  return nb::make_tuple(
      numpy(std::vector<std::int64_t>(data.offsets, data.offsets + n + 1), {n + 1}),
      numpy(std::vector<std::int64_t>(data.ids, data.ids + total), {total}),
      numpy(std::vector<float>(data.distances, data.distances + total), {total}), data.method,
      data.seconds);
}

nb::tuple nearest(const hybridhash::Index& index, const Rows& codes, std::int64_t k) {
  hybridhash::detail::check_size(codes.shape(1), hybridhash::code_bytes(index.bits()),
                                 "codes, bytes of a row");
  const std::size_t n = codes.shape(0), width = std::size_t(k);
  hybridhash::Index::Nearest found;
  {
    const Unlocked unlocked;
    found = index.nearest({codes.data(), codes.size()}, k);
  }
  return nb::make_tuple(numpy(std::move(found.ids), {n, width}),
                        numpy(std::move(found.distances), {n, width}));
}

nb::dict evaluate(const hybridhash::Codes& queries, const hybridhash::Codes& database,
                  std::int64_t top_k, int radius, int samples, double confidence,
                  std::uint64_t seed) {
  hh_evaluate_options options = HH_EVALUATE_OPTIONS_INIT;
  options.top_k = top_k;
  options.radius = radius;
  options.bootstrap_samples = samples;
  options.confidence = confidence;
  options.seed = seed;
  hh_evaluation e{};
  {
    const Unlocked unlocked;
    e = hybridhash::evaluate(queries, database, options);
  }
  nb::dict result;
  result["queries"] = e.queries;
  result["database"] = e.database;
  result["bits"] = e.bits;
  result["top_k"] = e.top_k;
  result["map"] = e.map_stable;
  result["map_interval"] =
      samples > 0 ? nb::make_tuple(e.map_low, e.map_high) : nb::object(nb::none());
  result["map_expected"] = e.map_expected;
  result["map_best"] = e.map_best;
  result["map_worst"] = e.map_worst;
  result["precision_within_radius"] = e.precision_within_radius;
  result["recall_within_radius"] = e.recall_within_radius;
  result["queries_without_relevant"] = e.without_relevant;
  return result;
}

/// A training run's callbacks. A Python error ends the run after the step and is raised.
struct Training {
  nb::object epoch, message, progress;
  bool failed = false;

  template <class F>
  void call(F&& function) {
    const nb::gil_scoped_acquire lock;
    if (!failed) failed = !called(function);
  }
};

bool train(const std::optional<std::string>& recipe, const std::string& folder,
           const std::vector<std::string>& settings, const std::string& device, bool resume,
           bool allow_changed_data, nb::object epoch, nb::object message, nb::object progress) {
  Training told{std::move(epoch), std::move(message), std::move(progress)};
  const auto texts_of = hybridhash::detail::pointers(settings);
  hh_train_options options = HH_TRAIN_OPTIONS_INIT;
  options.device = hybridhash::detail::c_text(device);
  options.settings = texts_of.data();
  options.setting_count = std::int64_t(texts_of.size());
  options.resume = resume;
  options.allow_changed_data = allow_changed_data;
  options.user = &told;
  options.stop = [](void* user) {
    auto* const self = static_cast<Training*>(user);
    const nb::gil_scoped_acquire lock;
    if (!self->failed && PyErr_CheckSignals() != 0) self->failed = true;
    return int(self->failed || hh::python::calls.must_stop());
  };
  if (!told.epoch.is_none()) {
    options.epoch = [](const hh_epoch* e, void* user) {
      auto* const self = static_cast<Training*>(user);
      self->call([&] {
        nb::dict values;
        values["epoch"] = e->epoch;
        values["epochs"] = e->epochs;
        values["loss"] = e->loss;
        values["learning_rate"] = e->learning_rate;
        values["images_per_second"] = e->images_per_second;
        values["map"] = e->map < 0 ? nb::object(nb::none()) : nb::object(nb::float_(e->map));
        self->epoch(values);
      });
    };
  }
  if (!told.message.is_none()) {
    options.message = [](const char* line, int warning, void* user) {
      auto* const self = static_cast<Training*>(user);
      self->call([&] { self->message(text(line), warning != 0); });
    };
  }
  if (!told.progress.is_none()) {
    options.progress = [](const char* what, std::int64_t done, std::int64_t total,
                          const char* detail, void* user) {
      auto* const self = static_cast<Training*>(user);
      self->call([&] { self->progress(text(what), done, total, text(detail)); });
    };
  }
  bool ended = false;
  {
    const Unlocked unlocked;
    ended = hybridhash::train(recipe.value_or(""), folder, options);
  }
  if (told.failed) throw nb::python_error();
  return ended;
}

/// Where the library's messages go. Never destroyed: Python may have ended before.
nb::object& log_function() {
  static auto& function = *new nb::object;
  return function;
}

void set_log(nb::object function) {
  const bool none = function.is_none();
  {
    // A message under way asks for the interpreter's lock.
    const Unlocked unlocked{Unlocked::AtAnyTime{}};
    hybridhash::detail::check(hh_set_log(nullptr, nullptr));
  }
  log_function() = std::move(function);
  if (none) return;
  const Unlocked unlocked;
  hybridhash::detail::check(hh_set_log(
      [](hh_log_level level, const char* line, void*) {
        const nb::gil_scoped_acquire lock;
        try {
          log_function()(10 * (int(level) + 1), text(line));
        } catch (nb::python_error& error) {
          error.discard_as_unraisable(log_function());
        }
      },
      nullptr));
}

void bind_errors(nb::module_& m) {
  static PyObject* error_type = PyErr_NewExceptionWithDoc(
      "hybridhash.Error",
      "A file or a device that can't be used; what is wrong with it in one line. `status` is its "
      "kind: \"bad file\", "
      "\"bad image\", \"busy\", \"disk full\", \"device error\" or \"internal error\".",
      PyExc_RuntimeError, nullptr);
  m.attr("Error") = nb::borrow(error_type);
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const hybridhash::Error& error) {
      // What Python programs expect, where there is such a thing; `status` says which.
      PyObject* const type = error.status() == HH_INVALID_ARGUMENT ? PyExc_ValueError
                             : error.status() == HH_OUT_OF_MEMORY  ? PyExc_MemoryError
                             : error.status() == HH_STOPPED        ? PyExc_InterruptedError
                                                                   : error_type;
      const nb::object said = text(error.what());
      if (type != error_type) return PyErr_SetObject(type, said.ptr());
      nb::object made = nb::borrow(type)(said);
      made.attr("status") = hh_status_name(error.status());
      PyErr_SetObject(type, made.ptr());
    }
  });
}

void bind_codes(nb::module_& m) {
  nb::class_<hybridhash::Codes>(m, "Codes")
      .def_static(
          "read",
          [](const std::string& path, int bits) {
            const Unlocked unlocked;
            return hybridhash::Codes::read(path, bits);
          },
          "path"_a, "bits"_a)
      .def("write", &hybridhash::Codes::write, nb::call_guard<Unlocked>())
      .def("__len__", &hybridhash::Codes::count)
      .def_prop_ro("bits", &hybridhash::Codes::bits)
      .def_prop_ro(
          "codes",
          [](nb::handle self) {
            const hh_codes_data d = nb::cast<hybridhash::Codes&>(self).view();
            return view(d.codes, {std::size_t(d.count), hybridhash::code_bytes(d.bits)}, self);
          })
      .def_prop_ro("ids",
                   [](nb::handle self) {
                     const hh_codes_data d = nb::cast<hybridhash::Codes&>(self).view();
                     return view(d.ids, {std::size_t(d.count)}, self);
                   })
      .def_prop_ro(
          "labels",
          [](nb::handle self) -> nb::object {
            const hh_codes_data d = nb::cast<hybridhash::Codes&>(self).view();
            if (d.classes == 0) return nb::none();
            return nb::cast(
                view(d.labels, {std::size_t(d.count), (std::size_t(d.classes) + 63) / 64}, self));
          })
      .def_prop_ro(
          "outputs",
          [](nb::handle self) -> nb::object {
            const hh_codes_data d = nb::cast<hybridhash::Codes&>(self).view();
            if (d.outputs == nullptr) return nb::none();
            return nb::cast(view(d.outputs, {std::size_t(d.count), std::size_t(d.bits)}, self));
          })
      .def_prop_ro("classes", [](const hybridhash::Codes& c) { return c.view().classes; })
      .def_prop_ro("class_names",
                   [](const hybridhash::Codes& c) {
                     const hh_codes_data d = c.view();
                     return texts(d.class_names, d.classes);
                   })
      .def_prop_ro("names",
                   [](const hybridhash::Codes& c) {
                     const hh_codes_data d = c.view();
                     return texts(d.names, d.count);
                   })
      .def_prop_ro("metadata",
                   [](const hybridhash::Codes& c) {
                     const hh_codes_data d = c.view();
                     return texts(d.metadata, d.count);
                   })
      .def_prop_ro("model_hash", [](const hybridhash::Codes& c) { return c.view().model_hash; });
  m.def("make_codes", &make_codes, "codes"_a, "bits"_a, "ids"_a.none(), "labels"_a.none(),
        "classes"_a, "class_names"_a.none(), "names"_a.none(), "metadata"_a.none(),
        "outputs"_a.none(), "model_hash"_a);
}

void bind_model(nb::module_& m) {
  nb::class_<Model>(m, "Model")
      .def(nb::init<const std::string&, const std::string&, const std::string&, int>(), "path"_a,
           "device"_a, "dtype"_a, "threads"_a, nb::call_guard<Unlocked>())
      .def_prop_ro("bits", [](const Model& model) { return model.bits(); })
      .def_prop_ro("image_size", [](const Model& model) { return model.image_size(); })
      .def_prop_ro("channels", [](const Model& model) { return model.channels(); })
      .def_prop_ro("exif_orientation", [](const Model& model) { return model.exif_orientation(); })
      .def_prop_ro("hash", [](const Model& model) { return model.hash(); })
      .def_prop_ro("class_names", [](const Model& model) { return model.class_names(); })
      .def("copies",
           [](const Model& model) {
             const auto [copied, in_place] = model.copies();
             return nb::make_tuple(copied, in_place);
           })
      .def(
          "export_onnx",
          [](const Model& model, const std::string& path, std::int64_t batch, int opset,
             const std::string& inputs, const std::string& outputs) {
            hh_onnx_options options = HH_ONNX_OPTIONS_INIT;
            options.batch = batch;
            options.opset = opset;
            options.inputs = hybridhash::detail::c_text(inputs);
            options.outputs = hybridhash::detail::c_text(outputs);
            const Unlocked unlocked;
            model.export_onnx(path, options);
          },
          "path"_a, "batch"_a, "opset"_a, "inputs"_a, "outputs"_a)
      .def("transform", &transform, "arrays"_a)
      .def("encode", &encode, "arrays"_a, "batch"_a, "workers"_a, "progress"_a.none())
      .def("encode_source", &encode_source, "files"_a, "kind"_a, "place"_a, "image_root"_a,
           "batch"_a, "workers"_a, "skip_bad"_a, "keep_outputs"_a, "max_megapixels"_a,
           "progress"_a.none());
}

void bind_index(nb::module_& m) {
  nb::class_<hybridhash::Index>(m, "Index")
      .def(nb::init<const std::string&>(), "folder"_a, nb::call_guard<Unlocked>())
      .def_static("build", &hybridhash::Index::build, "folder"_a, "codes"_a, "overwrite"_a,
                  "keep_outputs"_a, nb::call_guard<Unlocked>())
      .def("__len__", &hybridhash::Index::count)
      .def_prop_ro("bits", &hybridhash::Index::bits)
      .def_prop_ro("model_hash", &hybridhash::Index::model_hash)
      .def("refresh", &hybridhash::Index::refresh, nb::call_guard<Unlocked>())
      .def("compact", &hybridhash::Index::compact, nb::call_guard<Unlocked>())
      .def(
          "add",
          [](hybridhash::Index& index, const hybridhash::Codes& codes, int same_id) {
            const Unlocked unlocked;
            return index.add(codes, hh_same_id(same_id));
          },
          "codes"_a, "same_id"_a)
      .def(
          "remove",
          [](hybridhash::Index& index, const Ids& ids) {
            const Unlocked unlocked;
            return index.remove({ids.data(), ids.shape(0)});
          },
          "ids"_a)
      .def(
          "items",
          [](const hybridhash::Index& index, const Ids& ids) {
            const Unlocked unlocked;
            return index.items({ids.data(), ids.shape(0)});
          },
          "ids"_a)
      .def("select", &hybridhash::Index::select, "filters"_a, nb::call_guard<Unlocked>())
      .def("search", &search, "codes"_a.none(), "ids"_a.none(), "outputs"_a.none(), "k"_a,
           "radius"_a.none(), "filters"_a, "exclude_self"_a, "rerank"_a, "method"_a, "threads"_a)
      .def("nearest", &nearest, "codes"_a, "k"_a);
}

}  // namespace

NB_MODULE(_core, m) {
  nb::set_leak_warnings(false);  // what a daemon thread still holds at the end is no leak of ours
  bind_errors(m);
  m.attr("__version__") = hh_version();
  m.def(
      "set_threads", [](int n) { hybridhash::detail::check(hh_set_threads(n)); }, "threads"_a,
      "CPU threads of this process for everything, but what torch's operators use; 0: one per "
      "core.");
  m.def("threads", &hh_threads, "How many CPU threads are in use: set_threads(), or one per core.");
  m.def("set_log", &set_log, "log"_a.none(),
        "Where warnings and what else the library has to say go: log(level, line), with the levels "
        "of "
        "Python's logging, so `set_log(logging.getLogger(\"hybridhash\").log)`. None, as at the "
        "start: "
        "nowhere. For the whole process; called from any thread, one call at a time. It must not "
        "call "
        "the library.");
  hh::python::wait_at_exit([] { set_log(nb::none()); });
  bind_codes(m);
  bind_model(m);
  bind_index(m);
  m.def("evaluate", &evaluate, "queries"_a, "database"_a, "top_k"_a, "radius"_a, "samples"_a,
        "confidence"_a, "seed"_a);
  m.def("train", &train, "recipe"_a.none(), "folder"_a, "settings"_a, "device"_a, "resume"_a,
        "allow_changed_data"_a, "epoch"_a.none(), "message"_a.none(), "progress"_a.none());
}
