// Moves the wall clock of one process by whole seconds, and no other clock:
//
//     LD_PRELOAD=move_wall_clock.so WALL_CLOCK_SECONDS=-2 crema node ...
//
// Why not libfaketime (0.9.10): a program with jemalloc never gets beyond its first allocation under it. jemalloc reads
// the clock there, and libfaketime, which sets itself up at the first reading, finds itself called again and hangs.
// This one allocates nothing, and a read costs as much as without it. Only clock_gettime() is moved, which is what
// std::chrono::system_clock calls; RocksDB's gettimeofday() must not be, for waits until an absolute time start from
// it.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int (*next)(clockid_t, struct timespec*);
static long seconds;

__attribute__((constructor)) static void begin(void) {
  const char* text = getenv("WALL_CLOCK_SECONDS");
  seconds = text != NULL ? strtol(text, NULL, 10) : 0;
  *(void**)&next = dlsym(RTLD_NEXT, "clock_gettime");
}

int clock_gettime(clockid_t clock, struct timespec* now) {
  int result = next != NULL ? next(clock, now) : (int)syscall(SYS_clock_gettime, clock, now); // NULL: before begin().
  if (result == 0 && clock == CLOCK_REALTIME)
    now->tv_sec += seconds;
  return result;
}
