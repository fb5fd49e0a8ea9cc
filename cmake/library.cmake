# libmqbench.a: the folders of src/ in one archive, for programs and plug-ins of others; with its headers, a
# pkg-config file and a CMake package, all of which may be moved as one tree.
include(CMakePackageConfigHelpers)

get_property(mq_objects GLOBAL PROPERTY mq_objects)
add_library(libmqbench STATIC ${mq_objects} $<TARGET_OBJECTS:mq_onnx_proto>)
set_target_properties(libmqbench PROPERTIES OUTPUT_NAME mqbench LINKER_LANGUAGE C)

# pkg-config --static also names the libraries that libarchive's own static library would need, whose
# development files its Debian package does not bring; so it stands among the plain libraries.
set(MQ_PC_REQUIRES yaml-0.1 jansson libcrypto sqlite3 libprotobuf-c libjpeg libpng libexif zlib)
# Debian's oneDNN has no pkg-config file.
get_filename_component(dnnl_directory ${DNNL_LIBRARY} DIRECTORY)
set(MQ_PC_LIBS "")
foreach(directory ${ARCHIVE_LIBRARY_DIRS} ${dnnl_directory})
  if(NOT directory IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
    list(APPEND MQ_PC_LIBS -L${directory})
  endif()
endforeach()
list(APPEND MQ_PC_LIBS -larchive -ldnnl ${MQ_MPI_LIBRARIES} ${OpenMP_C_FLAGS} -pthread -ldl -lm)
string(REPLACE ";" " " MQ_PC_REQUIRES "${MQ_PC_REQUIRES}")
string(REPLACE ";" " " MQ_PC_LIBS "${MQ_PC_LIBS}")

# From the folders of the two files to the prefix: "../.." unless the libraries lie deeper.
set(MQ_PC_FOLDER ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(MQ_PACKAGE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/mqbench)
file(RELATIVE_PATH MQ_PC_TO_PREFIX /prefix/${MQ_PC_FOLDER} /prefix)
file(RELATIVE_PATH MQ_PACKAGE_TO_PC /prefix/${MQ_PACKAGE_FOLDER} /prefix/${MQ_PC_FOLDER})
string(REGEX REPLACE "/$" "" MQ_PC_TO_PREFIX "${MQ_PC_TO_PREFIX}")

configure_file(cmake/mqbench.pc.in mqbench.pc @ONLY)
configure_file(cmake/mqbenchConfig.cmake.in mqbenchConfig.cmake @ONLY)
write_basic_package_version_file(mqbenchConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(TARGETS libmqbench ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/mqbench DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_BINARY_DIR}/mqbench.pc DESTINATION ${MQ_PC_FOLDER})
install(FILES ${PROJECT_BINARY_DIR}/mqbenchConfig.cmake ${PROJECT_BINARY_DIR}/mqbenchConfigVersion.cmake
        DESTINATION ${MQ_PACKAGE_FOLDER})
