# Compiler settings that every target shares, and weft_library(): one static library for each folder.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "" FORCE)
endif()

find_program(WEFT_CCACHE ccache)
if(WEFT_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${WEFT_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${WEFT_CCACHE})
endif()

# Everything that is compiled here gets these; programs outside the tree do not.
add_library(weft_flags INTERFACE)
target_compile_options(weft_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unknown-pragmas -Wno-missing-field-initializers>
  # What only __launch_bounds__ mentions, which is empty on simt, is unused to clang; and #pragma unroll is meant for nvcc.
  $<$<COMPILE_LANG_AND_ID:CXX,Clang>:-Wno-unused-const-variable -Wno-pass-failed>)
if(WEFT_NATIVE)
  target_compile_options(weft_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-march=native>)
endif()
if(WEFT_SANITIZE)
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fsanitize=${WEFT_SANITIZE}>
                      $<$<COMPILE_LANGUAGE:CXX>:-fno-sanitize-recover=all> $<$<COMPILE_LANGUAGE:CXX>:-fno-omit-frame-pointer>)
  add_link_options(-fsanitize=${WEFT_SANITIZE})
endif()

# weft_library(NAME [SOURCES...]) adds a library whose includes are written from the root: a static one, unless
# WEFT_LIBRARY_KIND says SHARED.
function(weft_library name)
  set(kind STATIC)
  if(WEFT_LIBRARY_KIND)
    set(kind ${WEFT_LIBRARY_KIND})
  endif()
  add_library(${name} ${kind} ${ARGN})
  set_target_properties(${name} PROPERTIES DEFINE_SYMBOL "")  # nothing here asks whether it is in a shared library
  target_include_directories(${name} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/weft>)
  target_link_libraries(${name} PRIVATE $<BUILD_INTERFACE:weft_flags>)
  set_property(GLOBAL APPEND PROPERTY WEFT_LIBRARIES ${name})
endfunction()
include(GNUInstallDirs)
