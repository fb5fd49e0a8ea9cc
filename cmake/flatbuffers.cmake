# The exporter of TensorFlow Lite's format: the project's only C++ is the file that writes the FlatBuffer, with the
# code that flatc makes of tflite.fbs in the build tree.
set_property(CACHE MQ_TFLITE PROPERTY STRINGS AUTO ON OFF)
if(MQ_TFLITE)
  # Of the same make as the C compiler: both are given the same options, and sanitizers do not mix.
  if(NOT CMAKE_CXX_COMPILER AND CMAKE_C_COMPILER_ID STREQUAL "Clang")
    string(REGEX REPLACE "clang([^/]*)$" "clang++\\1" clang_cxx ${CMAKE_C_COMPILER})
    find_program(CMAKE_CXX_COMPILER ${clang_cxx})
  endif()
  include(CheckLanguage)
  check_language(CXX)
  find_program(FLATC flatc)
  find_path(FLATBUFFERS_INCLUDE flatbuffers/flatbuffers.h)
  if(CMAKE_CXX_COMPILER AND FLATC AND FLATBUFFERS_INCLUDE)
    set(has_tflite ON)
  elseif(NOT MQ_TFLITE STREQUAL "AUTO")
    message(FATAL_ERROR "MQ_TFLITE needs a C++ compiler, flatc and flatbuffers/flatbuffers.h "
                        "(Debian: apt install g++ libflatbuffers-dev flatbuffers-compiler)")
  endif()
endif()
if(has_tflite)
  enable_language(CXX)
  set(CMAKE_CXX_STANDARD 17)
  set(CMAKE_CXX_STANDARD_REQUIRED ON)
  set(CMAKE_CXX_EXTENSIONS OFF)
  set(tflite_generated ${PROJECT_BINARY_DIR}/generated/tflite)
  file(MAKE_DIRECTORY ${tflite_generated})
  add_custom_command(
    OUTPUT ${tflite_generated}/tflite_generated.h
    COMMAND ${FLATC} --cpp -o ${tflite_generated} ${PROJECT_SOURCE_DIR}/src/deploy/tflite.fbs
    DEPENDS ${PROJECT_SOURCE_DIR}/src/deploy/tflite.fbs
    COMMENT "flatc tflite.fbs"
    VERBATIM)
  target_sources(mq_deploy PRIVATE src/deploy/tflite_file.cpp ${tflite_generated}/tflite_generated.h)
  set_target_properties(mq_deploy PROPERTIES CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF)
  target_include_directories(mq_deploy SYSTEM PRIVATE ${tflite_generated} ${FLATBUFFERS_INCLUDE})
  target_compile_definitions(mq_deploy PRIVATE MQ_HAS_TFLITE)
  set(MQ_CXX_LIBRARIES -lstdc++) # library.cmake
endif()
