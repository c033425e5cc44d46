# Runs the program of a page and compares what it prints with what the page says.
execute_process(COMMAND ${PROGRAM} OUTPUT_VARIABLE printed RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "the program of the page failed (${status}):\n${printed}")
endif()
file(READ ${OUTPUT} expected)
if(NOT expected STREQUAL "" AND NOT printed STREQUAL expected)
  message(FATAL_ERROR "the page says\n${expected}\nbut its program prints\n${printed}")
endif()
