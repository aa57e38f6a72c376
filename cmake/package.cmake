# SPDX-License-Identifier: Apache-2.0
# Packages, of a build with the preset package: cd build/package && cpack
#   .deb     hybridhash (the program), libhybridhash0, libhybridhash-dev, for the Debian that they are built on
#   .tar.gz  all of it in a folder that may lie anywhere, with its own libraries beside it
set(CPACK_GENERATOR "DEB;TGZ")
set(CPACK_PACKAGE_NAME hybridhash)
set(CPACK_PACKAGE_VENDOR "the HybridHash authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "images to short binary codes, and exact search of them")
set(CPACK_VERBATIM_VARIABLES ON)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)
set(CPACK_PACKAGE_FILE_NAME hybridhash-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_COMPONENTS_ALL program library development)
set(CPACK_HYBRIDHASH_LIBDIR ${CMAKE_INSTALL_LIBDIR})
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/package/prepare.cmake)

set(CPACK_DEB_COMPONENT_INSTALL ON)
set(HH_PACKAGE_MAINTAINER "HybridHash maintainers <maintainers@hybridhash.invalid>" CACHE STRING
  "Name <address> of who makes the .deb; the default's domain is one that can't exist")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${HH_PACKAGE_MAINTAINER}")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR}/bin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(same "(= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})")
set(about "HybridHash turns images into binary codes of 1 to 512 bits, so that similar
images have codes a few bits apart; it trains the network, indexes millions of
images and searches them exactly. Deep learning engine, search and server are
its own.
.")

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME hybridhash)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_RECOMMENDS libheif1)  # loaded, so that it isn't found
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "${about}
This package has the program.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(library libhybridhash${PROJECT_VERSION_MAJOR})
set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME ${library})
# What packages of programs that link it depend on: a later one has all that this one has.
file(CONFIGURE OUTPUT shlibs CONTENT "libhybridhash ${PROJECT_VERSION_MAJOR} ${library} (>= ${PROJECT_VERSION})\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${CMAKE_CURRENT_LIST_DIR}/package/triggers ${CMAKE_BINARY_DIR}/shlibs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_RECOMMENDS libheif1)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SUGGESTS "hybridhash ${same}")
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "${about}
This package has the library for C and C++. It writes ONNX files where the
program is installed too.")

set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libhybridhash-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "${library} ${same}")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_RECOMMENDS "libdnnl-dev, libhwy-dev")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SUGGESTS cmake)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "${about}
This package has headers, what CMake and pkg-config find, and the kernels as a
static library, which wants oneDNN and Highway.")
include(CPack)
