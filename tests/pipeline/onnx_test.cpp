// SPDX-License-Identifier: Apache-2.0
// What runtimes compute from the graph is in tests/api/python/onnx_test.py.
#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "engine/files/file.h"
#include "pipeline/onnx/export.h"
#include "tests/support/temporary_folder.h"

#ifdef HH_WITH_ONNX
#include <onnx/checker.h>
#include <onnx/onnx_pb.h>
#endif

namespace hh::pipeline {
namespace {

/// Blocks of one or 25 tokens, grey, bits that don't fill bytes; untrained.
std::unique_ptr<Model> odd_model(int image_size) {
  ModelInfo info;
  info.config = {.image_size = image_size,
                 .patch = 3,
                 .in_channels = 1,
                 .dims = {8, 16, 24},
                 .heads = {2, 1, 3},
                 .depths = {1, 2, 1},
                 .bits = 11};
  info.transform = {.size = image_size, .channels = 1};
  info.class_names = {"a", "b"};
  auto model = std::make_unique<Model>(info, kCpu, DType::f32);
  model->parameters.initialise(5);
  model->hash = model_hash(model->parameters);
  return model;
}

TEST_CASE("every node of the graph reads what is there, and all that is there is read", "[onnx]") {
  const int size = GENERATE(12, 60), opset = GENERATE(17, 20);
  const std::string inputs = GENERATE("pixels", "normalised");
  const std::string outputs = GENERATE("both", "codes", "outputs");
  CAPTURE(size, opset, inputs, outputs);
  const auto model = odd_model(size);
  const OnnxGraph graph =
      network_graph(*model, {.batch = 3, .opset = opset, .inputs = inputs, .outputs = outputs});
  std::set<std::string> known{""}, unread;
  for (const OnnxValue& value : graph.inputs) known.insert(value.name);
  for (const auto& [name, constant] : graph.constants) {
    std::size_t count = 1;
    for (const std::int64_t extent : constant.shape) count *= std::size_t(extent);
    CAPTURE(name);
    CHECK(std::visit([](const auto& values) { return values.size(); }, constant.values) == count);
    CHECK(known.insert(name).second);
    unread.insert(name);
  }
  for (const OnnxNode& node : graph.nodes) {
    for (const std::string& name : node.inputs) {
      CAPTURE(node.op, name);
      CHECK(known.contains(name));
      unread.erase(name);
    }
    for (const std::string& name : node.outputs) {
      CHECK(known.insert(name).second);
      unread.insert(name);
    }
  }
  for (const OnnxValue& value : graph.outputs) {
    CHECK(known.contains(value.name));
    unread.erase(value.name);
    CHECK(value.shape.front() == 3);
  }
  CHECK(unread.empty());
  CHECK(graph.metadata.at("hybridhash.model_hash") == model->hash);
  CHECK(graph.metadata.at("hybridhash.class_names") == R"(["a","b"])");
  // Every weight is in it, but for query and key of the attention among one token.
  std::size_t floats = 0;
  for (const auto& [name, constant] : graph.constants) {
    if (const auto* values = std::get_if<std::vector<float>>(&constant.values))
      floats += values->size();
  }
  CHECK(floats >= std::size_t(model->parameters.count()) - 2 * 24 * 24);
}

TEST_CASE("wrong options of a graph are named", "[onnx]") {
  using Catch::Contains;
  const auto model = odd_model(12);
  const auto why = [&](const OnnxOptions& options) {
    try {
      network_graph(*model, options);
    } catch (const std::invalid_argument& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK_THAT(why({.batch = -1}), Contains("batch = -1: use 1 to 65536"));
  CHECK_THAT(why({.opset = 16}), Contains("opset = 16: use 17 to 20"));
  CHECK_THAT(why({.opset = 21}), Contains("opset = 21: use 17 to 20"));
  CHECK_THAT(why({.inputs = "x"}), Contains("inputs = 'x': use pixels or normalised"));
  CHECK_THAT(why({.outputs = ""}), Contains("outputs = '': use both, codes or outputs"));
}

#ifdef HH_WITH_ONNX
TEST_CASE("an ONNX file is one that ONNX's own checker takes", "[onnx]") {
  const testing::TemporaryFolder folder;
  const auto model = odd_model(60);
  const auto batch = GENERATE(std::int64_t{0}, std::int64_t{2});
  const auto path = folder / "m.onnx";
  export_onnx(*model, path, {.batch = batch});
  const auto bytes = read_file(path, 1 << 24);
  onnx::ModelProto proto;
  REQUIRE(proto.ParseFromArray(bytes.data(), int(bytes.size())));
  onnx::checker::check_model(proto);  // throws
  CHECK(proto.opset_import(0).version() == 17);
  const auto& dim = proto.graph().input(0).type().tensor_type().shape().dim(0);
  CHECK(dim.dim_param() == (batch == 0 ? "batch" : ""));
  CHECK(dim.dim_value() == batch);
  // The same bytes again, over what is there.
  export_onnx(*model, path, {.batch = batch});
  CHECK(read_file(path, 1 << 24) == bytes);
  CHECK_THROWS_WITH(export_onnx(*model, folder / "none" / "m.onnx", {}),
                    Catch::Contains("none/m.onnx"));
}
#endif

}  // namespace
}  // namespace hh::pipeline
