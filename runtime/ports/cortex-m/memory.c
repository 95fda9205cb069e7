#include "cortex_m.h"

#define STACK_PAINT 0xA5A5A5A5u /* startup.c's */

extern const uint32_t _stack_limit[], _stack_top[];
extern const char _data_start[], _data_end[], _bss_start[], _bss_end[];
extern const char _flash_used[], _flash_size[], _ram_size[]; /* their addresses are the numbers */

static uint32_t between(const void* start, const void* end) {
    return (uint32_t)((uintptr_t)end - (uintptr_t)start);
}

void eq_memory_from_linker(void* context, eq_memory_t* memory) {
    const uint32_t* word = _stack_limit;
    (void)context;
    while (word < _stack_top && *word == STACK_PAINT) {
        word++;
    }
    memory->flash_size = between(NULL, _flash_size);
    memory->flash_used = between(NULL, _flash_used);
    memory->ram_size = between(NULL, _ram_size);
    memory->data = between(_data_start, _data_end);
    memory->bss = between(_bss_start, _bss_end);
    memory->stack_size = between(_stack_limit, _stack_top);
    memory->stack_used = between(word, _stack_top);
    memory->ram_used = memory->data + memory->bss + memory->stack_size;
}
