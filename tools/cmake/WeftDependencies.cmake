# Third-party libraries, all from the distribution's packages. tools/packages names the packages.
#
# With WEFT_STATIC they are linked statically where they come so; what comes only as a shared library is copied beside the
# programs, which look there first ($ORIGIN): such a build can be carried to a machine that has none of them.
if(WEFT_STATIC)
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a .so)
  set(Boost_USE_STATIC_LIBS ON)
  set(CMAKE_BUILD_RPATH "$ORIGIN")
  add_link_options(-static-libstdc++ -static-libgcc)
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
if(WEFT_TESTS)
  find_package(doctest REQUIRED)
endif()
if(WEFT_BENCH)
  find_package(benchmark REQUIRED)
endif()
