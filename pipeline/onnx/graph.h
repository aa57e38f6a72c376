// SPDX-License-Identifier: Apache-2.0
// A graph of ONNX as plain data: what network.h makes and libhh_onnx.so turns into a file.
// Source: https://onnx.ai/onnx/repo-docs/IR.html
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace hh::pipeline {

/// Element types, by ONNX's numbers.
enum class OnnxType : int { kFloat = 1, kUint8 = 2, kInt64 = 7 };

struct OnnxAttribute {
  std::string name;
  std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>> value;
};

/// Named by its first output.
struct OnnxNode {
  std::string op;
  std::vector<std::string> inputs, outputs;
  std::vector<OnnxAttribute> attributes;
};

struct OnnxConstant {
  std::vector<std::int64_t> shape;  // empty: one number
  std::variant<std::vector<float>, std::vector<std::int64_t>> values;
};

/// An input or output of the graph.
struct OnnxValue {
  static constexpr std::int64_t kAnyBatch = -1;
  std::string name;
  OnnxType type = OnnxType::kFloat;
  std::vector<std::int64_t> shape;
};

struct OnnxGraph {
  int opset = 17;
  std::vector<OnnxNode> nodes;                    // each after those that it reads
  std::map<std::string, OnnxConstant> constants;  // by name
  std::vector<OnnxValue> inputs, outputs;
  std::map<std::string, std::string> metadata;
};

/// What libhh_onnx.so exports under this name: the bytes of a file; false when they are more than
/// protobuf takes.
inline constexpr const char* kOnnxLibrary = "libhh_onnx.so";
inline constexpr const char* kOnnxSerialise = "hh_onnx_serialise";
using OnnxSerialise = bool(const OnnxGraph& graph, std::string& bytes);

}  // namespace hh::pipeline
