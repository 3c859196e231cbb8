# Installs Weft into a folder of its own, builds the consumer against it, runs it on the drawn sample.
#   cmake -DBUILD=<build folder> -DSOURCE=<tests/consumer> -DCOMPILER=<C++ compiler> -DGENERATOR=<Ninja> -P check.cmake
set(work ${BUILD}/consumer)
file(REMOVE_RECURSE ${work})
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGN " " command)
    message(FATAL_ERROR "${command}\n${output}")
  endif()
endfunction()
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${work}/prefix)
run(${CMAKE_COMMAND} -G ${GENERATOR} -S ${SOURCE} -B ${work}/build -DCMAKE_PREFIX_PATH=${work}/prefix -DCMAKE_CXX_COMPILER=${COMPILER}
    -DCMAKE_BUILD_TYPE=Release)
run(${CMAKE_COMMAND} --build ${work}/build)
run(${work}/prefix/bin/dogs_vs_cats sample ${work}/sample --count 16 --size 48)
run(${work}/build/consumer ${work}/sample)
