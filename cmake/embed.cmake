# mq_embed(FOLDER FILE SYMBOL): src/FOLDER/FILE becomes part of mq_FOLDER as
# `const unsigned char SYMBOL[]`, terminated by a zero byte that SYMBOL_bytes does not count.
function(mq_embed folder file symbol)
  set(source ${PROJECT_SOURCE_DIR}/src/${folder}/${file})
  if(NOT EXISTS ${source} OR NOT TARGET mq_${folder})
    return()
  endif()
  get_target_property(type mq_${folder} TYPE)
  if(type STREQUAL INTERFACE_LIBRARY) # no sources yet
    return()
  endif()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  file(READ ${source} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(REGEX REPLACE "((0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,)(0x..,))" "\\1\n" bytes "${bytes}")
  set(output ${CMAKE_CURRENT_BINARY_DIR}/embed/${symbol}.c)
  file(CONFIGURE OUTPUT ${output} @ONLY CONTENT
"#include <stddef.h>
extern const unsigned char @symbol@[];
extern const size_t @symbol@_bytes;
const unsigned char @symbol@[] = {@bytes@0};
const size_t @symbol@_bytes = sizeof @symbol@ - 1;
")
  target_sources(mq_${folder} PRIVATE ${output})
endfunction()
