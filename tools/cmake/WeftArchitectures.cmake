# weft_check_architectures(ARCHITECTURES PROBLEM): why these make no sound program, or nothing. On a GPU of capability 9.0 the
# launcher takes the Hopper rungs, whose bodies are there in code for 90a alone: what else such a GPU can run (its own code for
# plain 90, or PTX of 90 and below) must not be all that it finds.
function(weft_check_architectures architectures problem)
  set(runs_on_hopper)
  set(has_hopper OFF)
  foreach(architecture ${architectures})
    string(REGEX MATCH "^[0-9]+" number ${architecture})
    if(architecture MATCHES "^90a(-real)?$")
      set(has_hopper ON)
    elseif(number EQUAL 90 OR (number LESS 90 AND NOT architecture MATCHES "-real$"))
      list(APPEND runs_on_hopper ${architecture})
    endif()
  endforeach()
  set(${problem} "" PARENT_SCOPE)
  if(runs_on_hopper AND NOT has_hopper)
    set(${problem} "WEFT_CUDA_ARCHITECTURES: ${runs_on_hopper} would run on a GPU of compute capability 9.0, and leave its Hopper kernels empty: add 90a-real" PARENT_SCOPE)
  endif()
endfunction()
