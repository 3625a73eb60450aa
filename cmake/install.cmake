# What `cmake --install` writes: header, library, archive, pkg-config file, CMake package.
option(NANOCHAT_INSTALL "Write install rules" ${PROJECT_IS_TOP_LEVEL})
if(NOT NANOCHAT_INSTALL)
  return()
endif()

include(CMakePackageConfigHelpers)
set(nanochat_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nanochat)
set(nanochat_pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(nanochat_installed nanochat)
if(TARGET nanochat_static)
  list(APPEND nanochat_installed nanochat_static)
endif()
install(TARGETS ${nanochat_installed} EXPORT nanochatTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${PROJECT_SOURCE_DIR}/include/nanochat.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT nanochatTargets NAMESPACE nanochat:: DESTINATION ${nanochat_cmake_dir})

configure_package_config_file(${PROJECT_SOURCE_DIR}/pkgconfig/nanochatConfig.cmake.in
  ${PROJECT_BINARY_DIR}/nanochatConfig.cmake INSTALL_DESTINATION ${nanochat_cmake_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nanochatConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nanochatConfig.cmake ${PROJECT_BINARY_DIR}/nanochatConfigVersion.cmake
  DESTINATION ${nanochat_cmake_dir})

file(RELATIVE_PATH NANOCHAT_PC_PREFIX /prefix/${nanochat_pc_dir} /prefix)
configure_file(${PROJECT_SOURCE_DIR}/pkgconfig/nanochat.pc.in ${PROJECT_BINARY_DIR}/nanochat.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/nanochat.pc DESTINATION ${nanochat_pc_dir})
