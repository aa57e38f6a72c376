// SPDX-License-Identifier: Apache-2.0
// Texts between Python and the library, in place of nanobind/stl/string.h: names of files are bytes,
// and what isn't UTF-8 in them is kept as Python keeps it (PEP 383).
#pragma once
#include <nanobind/nanobind.h>

#include <cstdint>
#include <string>

namespace nanobind::detail {

template <>
struct type_caster<std::string> {
  NB_TYPE_CASTER(std::string, const_name("str"))

  bool from_python(handle src, std::uint8_t, cleanup_list*) noexcept {
    if (!PyUnicode_Check(src.ptr())) return false;
    const object bytes = steal(PyUnicode_EncodeFSDefault(src.ptr()));
    if (!bytes.is_valid()) {
      PyErr_Clear();
      return false;
    }
    value.assign(PyBytes_AsString(bytes.ptr()), std::size_t(PyBytes_Size(bytes.ptr())));
    return true;
  }
  static handle from_cpp(const std::string& text, rv_policy, cleanup_list*) noexcept {
    return PyUnicode_DecodeFSDefaultAndSize(text.data(), Py_ssize_t(text.size()));
  }
};

}  // namespace nanobind::detail
