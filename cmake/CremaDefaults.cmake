# What every target of the project shares: ccache, warnings as errors, sanitizers, and crema_library().

find_program(CREMA_CCACHE ccache)
if(CREMA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # pch_defines, time_macros: without them ccache refuses every file that uses a precompiled header.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CREMA_CCACHE})
endif()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
find_package(Threads REQUIRED)

# Release keeps assertions: a broken invariant must stop a storage node, not corrupt it.
string(REPLACE "-DNDEBUG" "" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
string(REPLACE "-O3" "-O2 -g1" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")

add_library(crema_options INTERFACE)
target_include_directories(crema_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(crema_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual -Werror)
target_link_libraries(crema_options INTERFACE Threads::Threads)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # A precompiled header must not change with the debug prefix; GCC otherwise cannot be cached.
  target_compile_options(crema_options INTERFACE -fpch-preprocess)
endif()
if(CREMA_PLANTED_BUGS)
  target_compile_definitions(crema_options INTERFACE CREMA_PLANTED_BUGS)
endif()
if(CREMA_SANITIZE)
  # Reports end the program. Null references may be recoverable, else scripts/sanitizers/ubsan.supp has no effect on CAF's own.
  target_compile_options(crema_options INTERFACE -fsanitize=${CREMA_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize-recover=null)
  target_link_options(crema_options INTERFACE -fsanitize=${CREMA_SANITIZE})
endif()

# crema_library(NAME below...): the library of this folder from all its .cpp files, linked against the folders below it.
function(crema_library name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  if(sources)
    add_library(crema_${name} STATIC ${sources})
    target_link_libraries(crema_${name} PUBLIC crema_options)
  else()
    add_library(crema_${name} INTERFACE)
    target_link_libraries(crema_${name} INTERFACE crema_options)
  endif()
  foreach(below IN LISTS ARGN)
    if(sources)
      target_link_libraries(crema_${name} PUBLIC ${below})
    else()
      target_link_libraries(crema_${name} INTERFACE ${below})
    endif()
  endforeach()
endfunction()
