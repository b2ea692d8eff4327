/* A stand-in for NVIDIA's management library: three cards, numbered in another order than their slots.
 *
 * 0: "NVIDIA T4" at 0000:81:00.0, fine at the first reading and lost at every later one
 * 1: "NVIDIA GB10" at 000f:01:00.0, without memory of its own
 * 2: "NVIDIA A2" at 0000:02:00.0, fine, with two processes, one of them without a figure
 */
#include <stdio.h>
#include <string.h>

#define OK 0
#define NOT_SUPPORTED 3
#define INSUFFICIENT_SIZE 7
#define LOST 15
#define GIB (1ULL << 30)

typedef struct { char old_id[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } Memory;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned pid; unsigned long long used; unsigned instance, compute; } Process;

static int opened, asked;
static int numbers[3] = {0, 1, 2};

int nvmlInit_v2(void) { return opened++ == 0 ? OK : 999; }
int nvmlShutdown(void) { return OK; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 3; return OK; }

int nvmlDeviceGetHandleByIndex_v2(unsigned n, int **handle) {
    if (n > 2) return 2;
    if (n == 0 && asked++ > 0) return LOST;
    *handle = &numbers[n];
    return OK;
}

int nvmlDeviceGetName(int *handle, char *text, unsigned room) {
    static const char *names[] = {"NVIDIA T4", "NVIDIA GB10", "NVIDIA A2"};
    snprintf(text, room, "%s", names[*handle]);
    return OK;
}

int nvmlDeviceGetUUID(int *handle, char *text, unsigned room) {
    snprintf(text, room, "GPU-%d", *handle);
    return OK;
}

int nvmlDeviceGetPciInfo_v3(int *handle, Pci *pci) {
    static const char *slots[] = {"00000000:81:00.0", "0000000F:01:00.0", "00000000:02:00.0"};
    memset(pci, 0, sizeof *pci);
    snprintf(pci->bus_id, sizeof pci->bus_id, "%s", slots[*handle]);
    return OK;
}

int nvmlDeviceGetMemoryInfo_v2(int *handle, Memory *memory) {
    if (*handle == 1) return NOT_SUPPORTED;
    memory->total = 16 * GIB;
    memory->reserved = GIB / 2;
    memory->used = 2 * GIB;
    memory->free = 16 * GIB - GIB / 2 - 2 * GIB;
    return OK;
}

int nvmlDeviceGetUtilizationRates(int *handle, Utilization *rates) {
    rates->gpu = 50;
    rates->memory = 7;
    return *handle == 1 ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetTemperature(int *handle, int sensor, unsigned *degrees) {
    (void)handle;
    (void)sensor;
    *degrees = 41;
    return OK;
}

int nvmlDeviceGetPowerUsage(int *handle, unsigned *milliwatts) {
    (void)handle;
    *milliwatts = 8500;
    return OK;
}

int nvmlDeviceGetClockInfo(int *handle, int clock, unsigned *mhz) {
    (void)handle;
    *mhz = clock == 1 ? 210 : 405;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(int *handle, unsigned *count, Process *list) {
    unsigned room = *count, there = *handle == 2 ? 2 : 0;
    *count = there;
    if (there == 0) return OK;
    if (list == NULL || room < there) return INSUFFICIENT_SIZE;
    list[0] = (Process){11, GIB, ~0u, ~0u};
    list[1] = (Process){12, ~0ULL, ~0u, ~0u};
    return OK;
}

int nvmlDeviceGetGraphicsRunningProcesses_v3(int *handle, unsigned *count, Process *list) {
    unsigned room = *count, there = *handle == 2 ? 1 : 0;
    *count = there;
    if (there == 0) return OK;
    if (list == NULL || room < there) return INSUFFICIENT_SIZE;
    /* It computes and draws: the same bytes in both lists. */
    list[0] = (Process){11, GIB, ~0u, ~0u};
    return OK;
}
