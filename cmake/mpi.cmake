# Ranks (mpirun -n 2 mqbench ...): the engine alone knows MPI.
set_property(CACHE MQ_MPI PROPERTY STRINGS AUTO ON OFF)
if(MQ_MPI STREQUAL "AUTO")
  find_package(MPI QUIET COMPONENTS C)
elseif(MQ_MPI)
  find_package(MPI REQUIRED COMPONENTS C)
endif()
if(MQ_MPI AND MPI_C_FOUND)
  target_link_libraries(mq_engine PUBLIC MPI::MPI_C)
  target_compile_definitions(mq_engine PRIVATE MQ_HAS_MPI)
  set(MQ_MPI_LIBRARIES ${MPI_C_LIBRARIES}) # library.cmake
endif()
