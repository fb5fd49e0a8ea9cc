# mq_onnx_proto: the C code protoc-c makes of ONNX's onnx.proto, in the build tree; not ours, so without our
# warnings. Users include <onnx.pb-c.h>.
find_program(PROTOC_C protoc-c)
find_file(ONNX_PROTO onnx.proto PATH_SUFFIXES include/onnx onnx)
if(NOT PROTOC_C)
  message(FATAL_ERROR "protoc-c is not installed (Debian: apt install protobuf-c-compiler)")
endif()
if(NOT ONNX_PROTO)
  message(FATAL_ERROR "onnx/onnx.proto is not installed (Debian: apt install libonnx-dev)")
endif()

get_filename_component(onnx_proto_directory ${ONNX_PROTO} DIRECTORY)
set(onnx_generated ${PROJECT_BINARY_DIR}/generated/onnx)
file(MAKE_DIRECTORY ${onnx_generated})
add_custom_command(
  OUTPUT ${onnx_generated}/onnx.pb-c.c ${onnx_generated}/onnx.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${onnx_generated} -I ${onnx_proto_directory} ${ONNX_PROTO}
  DEPENDS ${ONNX_PROTO}
  COMMENT "protoc-c onnx.proto"
  VERBATIM)
add_library(mq_onnx_proto STATIC ${onnx_generated}/onnx.pb-c.c ${onnx_generated}/onnx.pb-c.h)
target_compile_options(mq_onnx_proto PRIVATE -w)
target_include_directories(mq_onnx_proto SYSTEM PUBLIC ${onnx_generated})
target_link_libraries(mq_onnx_proto PUBLIC PkgConfig::PROTOBUF_C)
