# SPDX-License-Identifier: Apache-2.0
# What CPack runs between installing into its own folder and making a package of that.
if(CPACK_GENERATOR STREQUAL "DEB")
  include(${CMAKE_CURRENT_LIST_DIR}/prepare_deb.cmake)
elseif(CPACK_GENERATOR STREQUAL "TGZ")
  include(${CMAKE_CURRENT_LIST_DIR}/prepare_tgz.cmake)
endif()
