// SPDX-License-Identifier: Apache-2.0
// libhh_onnx.so: a graph in the ONNX project's own messages.
#include <onnx/onnx_pb.h>

#include <bit>
#include <type_traits>

#include "pipeline/onnx/graph.h"

static_assert(std::endian::native == std::endian::little, "raw data of ONNX is little-endian");

namespace hh::pipeline {
namespace {

void fill(onnx::AttributeProto& to, const OnnxAttribute& attribute) {
  to.set_name(attribute.name);
  std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::int64_t>) {
          to.set_type(onnx::AttributeProto::INT);
          to.set_i(value);
        } else if constexpr (std::is_same_v<T, float>) {
          to.set_type(onnx::AttributeProto::FLOAT);
          to.set_f(value);
        } else if constexpr (std::is_same_v<T, std::string>) {
          to.set_type(onnx::AttributeProto::STRING);
          to.set_s(value);
        } else {
          to.set_type(onnx::AttributeProto::INTS);
          for (const std::int64_t i : value) to.add_ints(i);
        }
      },
      attribute.value);
}

void fill(onnx::NodeProto& to, const OnnxNode& node) {
  to.set_name(node.outputs.front());
  to.set_op_type(node.op);
  for (const std::string& name : node.inputs) to.add_input(name);
  for (const std::string& name : node.outputs) to.add_output(name);
  for (const OnnxAttribute& attribute : node.attributes) fill(*to.add_attribute(), attribute);
}

void fill(onnx::TensorProto& to, const std::string& name, const OnnxConstant& constant) {
  to.set_name(name);
  for (const std::int64_t extent : constant.shape) to.add_dims(extent);
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        to.set_data_type(int(std::is_same_v<T, float> ? OnnxType::kFloat : OnnxType::kInt64));
        to.set_raw_data(values.data(), values.size() * sizeof(T));
      },
      constant.values);
}

void fill(onnx::ValueInfoProto& to, const OnnxValue& value) {
  to.set_name(value.name);
  onnx::TypeProto::Tensor& tensor = *to.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(int(value.type));
  for (const std::int64_t extent : value.shape) {
    auto& dim = *tensor.mutable_shape()->add_dim();
    if (extent == OnnxValue::kAnyBatch) {
      dim.set_dim_param("batch");
    } else {
      dim.set_dim_value(extent);
    }
  }
}

/// The first version of the format that may hold this opset.
/// Source: https://onnx.ai/onnx/repo-docs/Versioning.html, "Released versions".
int ir_version(int opset) { return opset >= 19 ? 9 : 8; }

}  // namespace
}  // namespace hh::pipeline

extern "C" __attribute__((visibility("default"))) bool hh_onnx_serialise(
    const hh::pipeline::OnnxGraph& graph, std::string& bytes) {
  using hh::pipeline::fill;
  onnx::ModelProto model;
  model.set_ir_version(hh::pipeline::ir_version(graph.opset));
  model.set_producer_name("hybridhash");
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");  // ONNX's own operations
  opset.set_version(graph.opset);
  onnx::GraphProto& to = *model.mutable_graph();
  to.set_name("hybridhash");
  for (const auto& node : graph.nodes) fill(*to.add_node(), node);
  for (const auto& [name, constant] : graph.constants) fill(*to.add_initializer(), name, constant);
  for (const auto& value : graph.inputs) fill(*to.add_input(), value);
  for (const auto& value : graph.outputs) fill(*to.add_output(), value);
  for (const auto& [key, value] : graph.metadata) {
    auto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  return model.SerializeToString(&bytes);
}
