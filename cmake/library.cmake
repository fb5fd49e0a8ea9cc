# Archives for programs and plug-ins of others, with headers, pkg-config files and a CMake package, all of which
# may be moved as one tree:
#   mqbench-runtime  programs in the fast and in the reference executor: no graph, no ONNX, no SQLite
#   mqbench-data     images and data sets as tensors, beside it
#   mqbench          all folders of src/
include(CMakePackageConfigHelpers)

function(mq_archive name)
  set(objects "")
  foreach(folder ${ARGN})
    get_property(of_folder GLOBAL PROPERTY mq_objects_${folder})
    list(APPEND objects ${of_folder})
  endforeach()
  add_library(lib${name} STATIC ${objects})
  set_target_properties(lib${name} PROPERTIES OUTPUT_NAME ${name} LINKER_LANGUAGE C)
  install(TARGETS lib${name} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

get_property(mq_folders GLOBAL PROPERTY mq_folders)
mq_archive(mqbench ${mq_folders})
target_sources(libmqbench PRIVATE $<TARGET_OBJECTS:mq_onnx_proto>)
mq_archive(mqbench-runtime program base tensor kernel runtime)
mq_archive(mqbench-data data)

# The folder of a library, as a linker's option, where the linker does not look by itself.
function(mq_library_folders result)
  set(options "")
  foreach(directory ${ARGN})
    if(NOT directory IN_LIST CMAKE_C_IMPLICIT_LINK_DIRECTORIES)
      list(APPEND options -L${directory})
    endif()
  endforeach()
  set(${result} ${options} PARENT_SCOPE)
endfunction()

# Debian's oneDNN has no pkg-config file.
get_filename_component(dnnl_directory ${DNNL_LIBRARY} DIRECTORY)
mq_library_folders(dnnl_folder ${dnnl_directory})
mq_library_folders(archive_folder ${ARCHIVE_LIBRARY_DIRS})
set(MQ_RUNTIME_LIBS ${dnnl_folder} -ldnnl ${OpenMP_C_FLAGS} -pthread -lm)
# pkg-config --static also names the libraries that libarchive's own static library would need, whose
# development files its Debian package does not bring; so it stands among the plain libraries.
set(MQ_DATA_REQUIRES libcrypto libjpeg libpng libexif zlib)
set(MQ_DATA_LIBS ${archive_folder} -larchive)
set(MQ_PC_REQUIRES yaml-0.1 jansson sqlite3 libprotobuf-c ${MQ_DATA_REQUIRES})
set(MQ_PC_LIBS ${MQ_DATA_LIBS} ${MQ_CXX_LIBRARIES} ${MQ_MPI_LIBRARIES} ${MQ_RUNTIME_LIBS} -ldl)
foreach(list MQ_RUNTIME_LIBS MQ_DATA_REQUIRES MQ_DATA_LIBS MQ_PC_REQUIRES MQ_PC_LIBS)
  string(REPLACE ";" " " ${list} "${${list}}")
endforeach()

# From the folders of the two files to the prefix: "../.." unless the libraries lie deeper.
set(MQ_PC_FOLDER ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(MQ_PACKAGE_FOLDER ${CMAKE_INSTALL_LIBDIR}/cmake/mqbench)
file(RELATIVE_PATH MQ_PC_TO_PREFIX /prefix/${MQ_PC_FOLDER} /prefix)
file(RELATIVE_PATH MQ_PACKAGE_TO_PC /prefix/${MQ_PACKAGE_FOLDER} /prefix/${MQ_PC_FOLDER})
string(REGEX REPLACE "/$" "" MQ_PC_TO_PREFIX "${MQ_PC_TO_PREFIX}")

foreach(name mqbench mqbench-runtime mqbench-data)
  configure_file(cmake/${name}.pc.in ${name}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/${name}.pc DESTINATION ${MQ_PC_FOLDER})
endforeach()
configure_file(cmake/mqbenchConfig.cmake.in mqbenchConfig.cmake @ONLY)
write_basic_package_version_file(mqbenchConfigVersion.cmake COMPATIBILITY SameMinorVersion)

install(DIRECTORY include/mqbench DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${PROJECT_BINARY_DIR}/mqbenchConfig.cmake ${PROJECT_BINARY_DIR}/mqbenchConfigVersion.cmake
        DESTINATION ${MQ_PACKAGE_FOLDER})
