# Installs a build of Taper into an empty folder, builds the project beside this file against it, and runs it.
#   cmake -D BUILD=<build tree> -D WORK=<scratch folder> -D GENERATOR=Ninja -D COMPILER=c++ -D FLAGS=-Wall -P run.cmake
cmake_minimum_required(VERSION 3.25)

function(run)
  execute_process(COMMAND ${ARGV} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# The environment must not lead to another copy.
unset(ENV{CMAKE_PREFIX_PATH})
unset(ENV{taper_DIR})
unset(ENV{CXXFLAGS})

file(REMOVE_RECURSE ${WORK})
run(${CMAKE_COMMAND} --install ${BUILD} --prefix ${WORK}/prefix)
run(${CMAKE_COMMAND} -S ${CMAKE_CURRENT_LIST_DIR} -B ${WORK}/build -G ${GENERATOR} -D CMAKE_BUILD_TYPE=Release
    -D CMAKE_PREFIX_PATH=${WORK}/prefix -D CMAKE_CXX_COMPILER=${COMPILER} -D CMAKE_CXX_FLAGS=${FLAGS})
run(${CMAKE_COMMAND} --build ${WORK}/build)
run(${WORK}/build/consumer)
