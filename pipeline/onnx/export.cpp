// SPDX-License-Identifier: Apache-2.0
#include "pipeline/onnx/export.h"

#include <dlfcn.h>

#include "engine/files/file.h"

namespace hh::pipeline {
namespace {

OnnxSerialise* serialise() {
  void* const library = dlopen(kOnnxLibrary, RTLD_NOW | RTLD_LOCAL);
  void* const found = library == nullptr ? nullptr : dlsym(library, kOnnxSerialise);
  if (found == nullptr) {
    throw std::runtime_error(std::string("ONNX files can't be written here: ") + dlerror() +
                             "; build where libonnx-dev and libprotobuf-dev are installed");
  }
  return reinterpret_cast<OnnxSerialise*>(found);
}

std::size_t constant_bytes(const OnnxGraph& graph) {
  std::size_t bytes = 0;
  for (const auto& [name, constant] : graph.constants) {
    std::visit([&](const auto& values) { bytes += values.size() * sizeof(values[0]); },
               constant.values);
  }
  return bytes;
}

}  // namespace

void export_onnx(const Model& model, const std::filesystem::path& out, const OnnxOptions& options) {
  OnnxSerialise* const write = serialise();
  constexpr std::size_t kMostBytes = 2'000'000'000;  // of a protobuf message, below 2 GiB
  const OnnxGraph graph = network_graph(model, options);
  const std::size_t size = constant_bytes(graph);
  std::string bytes;
  if (size > kMostBytes || !write(graph, bytes)) {
    throw std::runtime_error(out.string() + ": the graph would take " + std::to_string(size) +
                             " bytes, but one ONNX file holds " + std::to_string(kMostBytes));
  }
  write_file_atomically(out, bytes);
}

}  // namespace hh::pipeline
