# SPDX-License-Identifier: Apache-2.0
# What find_package(hybridhash) finds in an installed prefix: a file of targets for each component that was built.
include(CMakePackageConfigHelpers)
set(package ${CMAKE_INSTALL_LIBDIR}/cmake/hybridhash)

# Kernels include each other as "kernels/FAMILY/STEM.h".
install(TARGETS hh_kernels EXPORT hybridhash_kernels COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/kernels DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/hybridhash
  COMPONENT development FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE)
install(EXPORT hybridhash_kernels NAMESPACE hybridhash:: DESTINATION ${package}
  FILE hybridhash-kernels.cmake COMPONENT development)
if(HH_CUDA)
  install(EXPORT hybridhash_cuda_kernels NAMESPACE hybridhash:: DESTINATION ${package}
    FILE hybridhash-cuda_kernels.cmake COMPONENT development)
endif()
if(HH_LIBRARY)
  install(EXPORT hybridhash NAMESPACE hybridhash:: DESTINATION ${package}
    FILE hybridhash-library.cmake COMPONENT development)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/hybridhash-config.cmake.in hybridhash-config.cmake
  INSTALL_DESTINATION ${package})
# Before 1.0 a new minor version may change what there is.
write_basic_package_version_file(hybridhash-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/hybridhash-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/hybridhash-config-version.cmake
  DESTINATION ${package} COMPONENT development)
