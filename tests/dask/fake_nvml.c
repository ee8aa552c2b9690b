/* Stands in for NVIDIA's management library where there is no GPU: CUBIE_FAKE_GPUS devices of 8 GiB,
   which have names, memory and load, and can compute nothing.

   gcc -shared -fPIC -o libnvidia-ml.so.1 fake_nvml.c */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

typedef struct {
    unsigned long long total, free, used;
} memory;

typedef struct {
    unsigned gpu, memory;
} load;

static const char prefix[] = "GPU-c0b1e000-0000-0000-0000-";

static unsigned devices(void) {
    const char *given = getenv("CUBIE_FAKE_GPUS");
    return given ? (unsigned)atoi(given) : 2;
}

/* A handle is the number of the device and one: never null. */
static unsigned number(void *device) { return (unsigned)((uintptr_t)device - 1); }

static int handle(unsigned index, void **device) {
    if (index >= devices()) return INVALID_ARGUMENT;
    *device = (void *)((uintptr_t)index + 1);
    return SUCCESS;
}

int nvmlInit_v2(void) { return SUCCESS; }
int nvmlInitWithFlags(unsigned flags) { return (void)flags, SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code ? "refused by the stand-in" : "success"; }

int nvmlSystemGetDriverVersion(char *text, unsigned length) {
    snprintf(text, length, "%s", "999.0");
    return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = devices();
    return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) { return handle(index, device); }

int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
    if (strncmp(uuid, prefix, strlen(prefix))) return NOT_FOUND;
    return handle((unsigned)atoi(uuid + strlen(prefix)), device) ? NOT_FOUND : SUCCESS;
}

int nvmlDeviceGetIndex(void *device, unsigned *index) {
    *index = number(device);
    return SUCCESS;
}

int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
    snprintf(text, length, "%s%012u", prefix, number(device));
    return SUCCESS;
}

int nvmlDeviceGetName(void *device, char *text, unsigned length) {
    snprintf(text, length, "stand-in %u", number(device));
    return SUCCESS;
}

int nvmlDeviceIsMigDeviceHandle(void *device, unsigned *answer) {
    (void)device;
    *answer = 0;
    return SUCCESS;
}

int nvmlDeviceGetMigMode(void *device, unsigned *now, unsigned *later) {
    return (void)device, (void)now, (void)later, NOT_SUPPORTED;
}

int nvmlDeviceGetMemoryInfo(void *device, memory *answer) {
    answer->total = 8ull << 30;
    answer->used = (number(device) + 1ull) << 20;
    answer->free = answer->total - answer->used;
    return SUCCESS;
}

/* All devices lie beside the first two cores. */
int nvmlDeviceGetCpuAffinity(void *device, unsigned words, unsigned long *mask) {
    (void)device;
    memset(mask, 0, words * sizeof *mask);
    mask[0] = 3;
    return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(void *device, load *answer) {
    answer->gpu = number(device) + 1;
    answer->memory = 0;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, void *processes) {
    (void)device, (void)processes;
    *count = 0;
    return SUCCESS;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *device, unsigned *count, void *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, processes);
}

int nvmlDeviceGetComputeRunningProcesses(void *device, unsigned *count, void *processes) {
    return nvmlDeviceGetComputeRunningProcesses_v3(device, count, processes);
}
