# mq_simd(FOLDER source...): compiles each source once per instruction set, with MQ_SIMD_LEVEL defined to the
# suffix of its symbols (base, avx2, avx512); kernel/simd.h turns that into names and a dispatch table.
# Other processors than x86-64 use the base tables (mq_isa_detect), so the others are made with its flags.
set(MQ_SIMD_FLAGS_base "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
  set(MQ_SIMD_FLAGS_avx2 -mavx2 -mfma)
  set(MQ_SIMD_FLAGS_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512)
endif()

function(mq_simd folder)
  set(target mq_${folder})
  set(optimize -O3 -falign-loops=64) # inner loops are as long as a few lines of the instruction cache
  if(MQ_SANITIZE) # compilers take minutes to optimise the checks of unrolled intrinsics
    set(optimize)
  endif()
  foreach(level base avx2 avx512)
    add_library(${target}_${level} OBJECT ${ARGN})
    target_compile_options(${target}_${level} PRIVATE ${optimize} ${MQ_SIMD_FLAGS_${level}})
    # Clang tells that sanitized loops were not vectorised; that is no error.
    target_compile_options(${target}_${level} PRIVATE $<$<C_COMPILER_ID:Clang>:-Wno-pass-failed>)
    if(MQ_FUZZ)
      # Clang takes minutes to instrument unrolled intrinsics; the asan preset checks these loops.
      target_compile_options(${target}_${level} PRIVATE -fno-sanitize=undefined)
    elseif(MQ_SANITIZE AND level STREQUAL base)
      # Whole vectors in plain C take GCC a minute; the other levels' loops, of the same sources, are checked.
      target_compile_options(${target}_${level} PRIVATE -fno-sanitize=all)
    endif()
    target_compile_definitions(${target}_${level} PRIVATE MQ_SIMD_LEVEL=${level})
    target_include_directories(${target}_${level} PRIVATE ${PROJECT_SOURCE_DIR}/include
                                                          ${PROJECT_SOURCE_DIR}/src)
    target_sources(${target} PRIVATE $<TARGET_OBJECTS:${target}_${level}>)
    set_property(GLOBAL APPEND PROPERTY mq_objects_${folder} $<TARGET_OBJECTS:${target}_${level}>) # library.cmake
  endforeach()
endfunction()
