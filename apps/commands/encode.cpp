// SPDX-License-Identifier: Apache-2.0
// hybridhash encode: images to a code file.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/report/progress_bar.h"
#include "apps/report/shown_text.h"
#include "engine/files/counted.h"
#include "pipeline/data_source.h"
#include "retrieval/files/npy.h"

namespace hh::apps {
namespace {

struct Options {
  std::string model, out, npy, npy_outputs, dtype = "f32";
  pipeline::SourceOptions source;
  pipeline::EncoderOptions encoder;
  ComputeOptions compute;
};

void run(const Options& o) {
  HH_REQUIRE(!o.out.empty() || !o.npy.empty() || !o.npy_outputs.empty(),
             "where to? Give --out, --npy or --npy-outputs");
  check_output_files({{"--out", o.out}, {"--npy", o.npy}, {"--npy-outputs", o.npy_outputs}},
                     inputs_of(o.model, o.source));
  const Device device = o.compute.apply();
  const auto model = pipeline::load_model(o.model, device, network_type(o.dtype));
  const pipeline::Source source = pipeline::open_source(model->info, o.model, o.source);
  pipeline::EncoderOptions options = o.encoder;
  options.listener = terminal_listener();
  options.keep_outputs = options.keep_outputs || !o.npy_outputs.empty();
  const auto start = std::chrono::steady_clock::now();
  retrieval::CodeSet set = pipeline::encode_source(*model, source, options);
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::int64_t count = set.count(), bits = set.codes.bits();
  if (!o.npy.empty()) {
    const std::int64_t shape[] = {count, (bits + 7) / 8};
    retrieval::write_npy<std::uint8_t>(o.npy, shape, set.codes.to_bytes());
  }
  if (!o.npy_outputs.empty()) {
    const std::int64_t shape[] = {count, bits};
    retrieval::write_npy<float>(o.npy_outputs, shape, set.outputs);
  }
  if (!o.encoder.keep_outputs) set.outputs.clear();
  if (!o.out.empty()) retrieval::write_code_file(o.out, set);
  say("{}: {} of {} in {} on {} ({:.0f} images/s)\n", source.name, counted(count, "code"),
      counted(bits, "bit"), duration_text(seconds), to_string(device),
      double(count) / std::max(seconds, 1e-9));
}

}  // namespace

void add_encode(CLI::App& program) {
  auto options = std::make_shared<Options>();
  CLI::App* command = program.add_subcommand("encode", "Turn images into binary codes");
  command->add_option("--model", options->model, "model file or checkpoint of a training run")
      ->required()
      ->check(existing_file());
  pipeline::SourceOptions& source = options->source;
  command->add_option("--part", source.part,
                      "query, train, database or all, of the model's own data");
  command->add_option("--split", source.split,
                      "split.json for --part; otherwise that beside the model");
  command
      ->add_option("--set", source.settings,
                   "for --part: key=value of the model's recipe, as data.path=/images")
      ->take_all();
  command->add_option("--folder", source.folder, "all images of a folder, at any depth");
  command->add_option("--class-folder", source.class_folder,
                      "the same, with a sub-folder per class");
  command->add_option("--list", source.list, "list file: path l_1 ... l_n a line");
  command->add_option("--image-root", source.image_root, "what the list's paths start from");
  add_list_labels(*command, source.list_labels);
  add_allow_changed_data(*command, source.allow_changed_data);
  command->add_option("images", source.files, "image files");
  add_max_pixels(*command, source.max_pixels);
  add_exif_gone(*command);
  command->add_option("--out", options->out, "code file to write");
  command->add_option("--npy", options->npy, "also the packed codes, uint8 [n, bits/8]");
  command->add_option("--npy-outputs", options->npy_outputs,
                      "also the real-valued codes, float32 [n, bits]");
  pipeline::EncoderOptions& encoder = options->encoder;
  command->add_flag("--outputs", encoder.keep_outputs, "keep real-valued codes in the code file");
  command->add_flag("--skip-bad", encoder.skip_bad, "leave out images that can't be read");
  command->add_option("--batch", encoder.batch, "images at once")
      ->check(within(1, 65536))
      ->capture_default_str();
  command->add_option("--workers", encoder.workers, "threads that read images")
      ->check(within(0, 256))
      ->capture_default_str();
  command->add_option("--dtype", options->dtype, "f32, bf16, int8 (on a CPU) or f16 (on a GPU)")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "f16"}))
      ->capture_default_str();
  options->compute.add_to(*command);
  add_examples(
      *command,
      "  hybridhash encode --model runs/mine/best.safetensors --part database --out db.codes\n"
      "  hybridhash encode --model runs/mine/best.safetensors --folder photos --out photos.codes\n"
      "  hybridhash encode --model runs/mine/best.safetensors cat.jpg dog.png --npy two.npy\n");
  command->callback([options] { run(*options); });
}

}  // namespace hh::apps
