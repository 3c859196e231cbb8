# Third-party libraries, all from the distribution's packages. tools/packages names the packages.
#
# With WEFT_STATIC they are linked statically where they come so. What comes only as a shared library is copied into the
# programs' folder, where the programs look first ($ORIGIN): such a folder can be carried to a machine that has none of them.
# The kernels' libraries are shared there: each program would else hold all kernels for all GPUs once more. So is the C++
# library: two copies of it in one process would each keep their own streams and locales.
if(WEFT_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
  set(Boost_USE_STATIC_LIBS ON)
  set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  set(CMAKE_INSTALL_RPATH "$ORIGIN")
  # The older kind of entry holds for the libraries' own dependencies too.
  # Symbols stay: the SIMT machine finds the shared variables of a kernel by them.
  add_link_options(-Wl,--strip-debug -Wl,--disable-new-dtags)
endif()

# weft_carry(FILE NAME) copies a shared library into the programs' folder under NAME; weft_carry_target(TARGET) one that a
# package has found. Without WEFT_STATIC nothing: the machine that builds has them.
function(weft_carry file name)
  if(WEFT_STATIC)
    file(REAL_PATH ${file} file)
    file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
    configure_file(${file} ${PROJECT_BINARY_DIR}/bin/${name} COPYONLY)
  endif()
endfunction()
function(weft_carry_target target)
  if(WEFT_STATIC)
    get_target_property(file ${target} IMPORTED_LOCATION)
    foreach(configuration RELEASE NONE RELWITHDEBINFO)
      if(NOT file)
        get_target_property(file ${target} IMPORTED_LOCATION_${configuration})
      endif()
    endforeach()
    execute_process(COMMAND ${CMAKE_OBJDUMP} -p ${file} OUTPUT_VARIABLE headers COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCH "SONAME +([^ \n]+)" matched "${headers}")
    weft_carry(${file} ${CMAKE_MATCH_1})
  endif()
endfunction()
if(WEFT_STATIC)
  foreach(name libstdc++.so.6 libgcc_s.so.1)
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=${name} OUTPUT_VARIABLE file OUTPUT_STRIP_TRAILING_WHITESPACE)
    weft_carry(${file} ${name})
  endforeach()
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Boost REQUIRED COMPONENTS context)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)
find_library(WEFT_EXIF_LIBRARY exif REQUIRED)
add_library(weft_exif INTERFACE)  # libexif comes without a CMake package
target_link_libraries(weft_exif INTERFACE $<BUILD_INTERFACE:${WEFT_EXIF_LIBRARY}> $<INSTALL_INTERFACE:exif>)

# fmt as a header-only library where its compiled form is shared alone.
add_library(weft_fmt INTERFACE)
if(WEFT_STATIC)
  target_link_libraries(weft_fmt INTERFACE fmt::fmt-header-only)
else()
  target_link_libraries(weft_fmt INTERFACE fmt::fmt)
endif()

add_library(weft_dnnl INTERFACE)
if(WEFT_CPU)
  # Not through its CMake package: Debian's asks for OpenCL's headers, which only its GPU engine needs.
  find_path(WEFT_DNNL_INCLUDE dnnl.hpp REQUIRED)
  find_library(WEFT_DNNL_LIBRARY dnnl REQUIRED)
  # gomp: the distributions' oneDNN computes with GCC's OpenMP, whose thread count the device sets.
  target_link_libraries(weft_dnnl INTERFACE $<BUILD_INTERFACE:${WEFT_DNNL_LIBRARY}> $<INSTALL_INTERFACE:dnnl> gomp)
  target_include_directories(weft_dnnl INTERFACE $<BUILD_INTERFACE:${WEFT_DNNL_INCLUDE}>)
endif()
if(WEFT_TOOLS OR WEFT_TESTS OR WEFT_BENCH)
  find_package(CLI11 REQUIRED)
endif()
# The web server of `dogs_vs_cats train --watch`, which may be missing. Not in a folder that is to be carried: the
# distributions' library is shared alone and brings OpenSSL. Debian's package has no CMake files, and which macros it was
# compiled with, on which its classes' layout depends, is known to pkg-config alone.
if(WEFT_TOOLS AND NOT WEFT_STATIC)
  find_package(httplib CONFIG QUIET)
  if(TARGET httplib::httplib)
    set(httplib httplib::httplib)
  else()
    find_package(PkgConfig QUIET)
    if(PkgConfig_FOUND)
      pkg_check_modules(HTTPLIB QUIET IMPORTED_TARGET cpp-httplib)
    endif()
    if(TARGET PkgConfig::HTTPLIB)
      set(httplib PkgConfig::HTTPLIB)
    endif()
  endif()
  if(httplib)
    add_library(weft_httplib INTERFACE)
    target_link_libraries(weft_httplib INTERFACE ${httplib})
    target_compile_definitions(weft_httplib INTERFACE WEFT_WITH_HTTPLIB)
  else()
    message(STATUS "cpp-httplib was not found (packages libcpp-httplib-dev, pkgconf): `train --watch` is left out")
  endif()
endif()
if(WEFT_TESTS)
  find_package(doctest REQUIRED)
endif()
if(WEFT_BENCH)
  find_package(benchmark REQUIRED)
  weft_carry_target(benchmark::benchmark)
endif()
