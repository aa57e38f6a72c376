// SPDX-License-Identifier: Apache-2.0
// hybridhash export: a model for other programs.
#include "pipeline/onnx/export.h"

#include "apps/commands/command.h"
#include "apps/commands/outputs.h"
#include "apps/terminal/shown_text.h"

namespace hh::apps {
namespace {

struct Options {
  std::string model, onnx, batch = "dynamic";
  pipeline::OnnxOptions graph;
};

void run(const Options& o) {
  check_output_files({{"--onnx", o.onnx}}, {{"--model", o.model}});
  pipeline::OnnxOptions graph = o.graph;
  if (o.batch != "dynamic") graph.batch = std::stoll(o.batch);
  const auto model = pipeline::load_model(o.model, kCpu, DType::f32);
  pipeline::export_onnx(*model, o.onnx, graph);
  say("{}: ONNX, opset {}, {}\n", o.onnx, graph.opset,
      graph.batch == 0 ? "any batch" : fmt::format("batches of {}", graph.batch));
}

/// "dynamic" or a number.
TextCheck batch_size() {
  const TextCheck number = within(1, 65536);
  return {[number](const std::string& text) {
            if (text == "dynamic") return std::string();
            std::string why = number(text);
            return why.empty() ? why : why + ", or dynamic";
          },
          "dynamic or 1 to 65536"};
}

}  // namespace

void add_export(Command program) {
  auto options = std::make_shared<Options>();
  Command command =
      program.add_subcommand("export", "Write a network for ONNX Runtime, OpenVINO and others");
  command.add_option("--model", options->model, "model file or checkpoint of a training run")
      .required()
      .check(existing_file());
  command.add_option("--onnx", options->onnx, "ONNX file to write").required();
  command
      .add_option("--batch", options->batch,
                  "images at once; dynamic: any number, told at run time")
      .check(batch_size())
      .capture_default_str();
  pipeline::OnnxOptions& graph = options->graph;
  command
      .add_option("--inputs", graph.inputs,
                  "pixels: uint8 [n, S, S, C], as the model's transform makes them; normalised: "
                  "float32 [n, C, S, S]")
      .one_of({"pixels", "normalised"})
      .capture_default_str();
  command
      .add_option("--outputs", graph.outputs,
                  "outputs: float32 [n, bits]; codes: uint8 [n, bits/8], packed; both")
      .one_of({"both", "codes", "outputs"})
      .capture_default_str();
  command.add_option("--opset", graph.opset, "version of ONNX's operations")
      .check(within(17, 20))
      .capture_default_str();
  add_examples(command,
               "  hybridhash export --model runs/mine/best.safetensors --onnx mine.onnx\n"
               "  hybridhash export --model runs/mine/best.safetensors --onnx mine8.onnx --batch 8 "
               "--outputs codes\n");
  command.callback([options] { run(*options); });
}

}  // namespace hh::apps
