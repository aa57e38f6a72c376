# SPDX-License-Identifier: Apache-2.0
# The libraries that a system with a C and a C++ library alone lacks, beside ours, and their licences.
set(root ${CPACK_TEMPORARY_DIRECTORY})
set(doc ${root}/share/doc/hybridhash)
file(GLOB programs ${root}/bin/hybridhash)
file(GLOB_RECURSE found ${root}/lib/libhybridhash.so.*.* ${root}/lib/libhh_onnx.so)
if(NOT programs OR NOT found)
  message(FATAL_ERROR "nothing is installed in ${root}")
endif()
# Where they are looked for last, and where a program of others doesn't see them.
set(lib ${root}/${CPACK_HYBRIDHASH_LIBDIR}/hybridhash)
# glibc and the C++ library are the system's: the first must be, and the second must be no older than other users of it want.
# The driver and CUDA's libraries are NVIDIA's.
file(GET_RUNTIME_DEPENDENCIES EXECUTABLES ${programs} LIBRARIES ${found}
  RESOLVED_DEPENDENCIES_VAR needed UNRESOLVED_DEPENDENCIES_VAR missing
  PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|stdc\\+\\+|gcc_s)\\.so" "^libcu" "^libhybridhash")
if(missing)
  message(FATAL_ERROR "needed and not here: ${missing}")
endif()
foreach(library IN LISTS needed)
  file(REAL_PATH ${library} file)
  get_filename_component(name ${library} NAME)
  file(COPY_FILE ${file} ${lib}/${name})
  execute_process(COMMAND patchelf --set-rpath $ORIGIN ${lib}/${name} COMMAND_ERROR_IS_FATAL ANY)
  # Whose it is: "PACKAGE:ARCHITECTURE: PATH". With a merged /usr the path that the package knows may lack it.
  string(REGEX REPLACE "^/usr/" "/" short ${file})
  execute_process(COMMAND dpkg-query -S ${file} ${short} OUTPUT_VARIABLE owner ERROR_QUIET)
  if(NOT owner MATCHES "^([^:]+):")
    message(FATAL_ERROR "${file} is of no package, so its licence isn't known")
  endif()
  copy_licences(${doc} ${CMAKE_MATCH_1})
endforeach()
copy_licences(${doc} ${compiled_in})
configure_file(${CMAKE_CURRENT_LIST_DIR}/../../LICENSE ${doc}/LICENSE COPYONLY)
configure_file(${CMAKE_CURRENT_LIST_DIR}/../../docs/licenses.md ${doc}/licenses.md COPYONLY)
