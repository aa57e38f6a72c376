# SPDX-License-Identifier: Apache-2.0
# What CPack runs between installing into its own folder and making a package of that.

# copy_licences(FOLDER PACKAGE...): what Debian's packages say of their terms, under the packages' names.
function(copy_licences folder)
  foreach(package IN LISTS ARGN)
    configure_file(/usr/share/doc/${package}/copyright ${folder}/licences/${package} COPYONLY)
  endforeach()
endfunction()
set(compiled_in libhwy-dev libcli11-dev libtomlplusplus-dev nlohmann-json3-dev libspdlog-dev libfmt-dev libcpp-httplib-dev
  libstb-dev)

if(CPACK_GENERATOR STREQUAL "DEB")
  include(${CMAKE_CURRENT_LIST_DIR}/prepare_deb.cmake)
elseif(CPACK_GENERATOR STREQUAL "TGZ")
  include(${CMAKE_CURRENT_LIST_DIR}/prepare_tgz.cmake)
endif()
