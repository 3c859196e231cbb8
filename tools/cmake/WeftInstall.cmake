# <weft.h>, cmake --install and find_package(weft). Installed, the tree lies under include/weft/, so that an include reads the same
# inside and outside: "core/tensor.h".
include(CMakePackageConfigHelpers)
configure_file(${PROJECT_SOURCE_DIR}/tools/cmake/weft.h.in ${PROJECT_BINARY_DIR}/include/weft.h @ONLY)

get_property(libraries GLOBAL PROPERTY WEFT_LIBRARIES)
add_library(weft INTERFACE)
add_library(weft::weft ALIAS weft)
target_link_libraries(weft INTERFACE ${libraries})
target_include_directories(weft INTERFACE $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>
                                          $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
                                          $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/weft>)
target_compile_features(weft INTERFACE cxx_std_20)

install(TARGETS weft ${libraries} weft_fmt weft_exif weft_dnnl EXPORT weft_targets)
foreach(folder kernels core optim data nn)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/${folder} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weft FILES_MATCHING PATTERN "*.h")
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/include/weft.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/weft)
install(EXPORT weft_targets NAMESPACE weft:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
configure_package_config_file(${PROJECT_SOURCE_DIR}/tools/cmake/weft-config.cmake.in
  ${PROJECT_BINARY_DIR}/weft-config.cmake INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/weft-config.cmake ${PROJECT_BINARY_DIR}/weft-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
