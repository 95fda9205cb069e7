/* A QEMU TCG plugin (API version 1, QEMU 4.2 to 8.2) that counts how often each instruction is
 * executed between two addresses: from `begin`, an entry, to `end`, where the caller goes on.
 *
 *   -plugin ./executed.so,begin=HEX,end=HEX,out=FILE
 *
 * FILE has the counts of the last whole pass: lines "ADDRESS COUNT", in hex and decimal. One
 * processor only. */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From QEMU's documentation of the interface (docs/devel/tcg-plugins), as far as it is used here;
 * Debian has no package with the header. */
typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
typedef void (*translated_t)(qemu_plugin_id_t, struct qemu_plugin_tb*);
typedef void (*executed_t)(unsigned int, void*);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, translated_t);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn*, executed_t,
                                            enum qemu_plugin_cb_flags, void*);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn*, enum qemu_plugin_op,
                                                void*, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb*);
struct qemu_plugin_insn* qemu_plugin_tb_get_insn(const struct qemu_plugin_tb*, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn*);

#define EXPORT __attribute__((visibility("default")))
#define PAGE_BITS 14
#define PAGES (1u << (32 - PAGE_BITS))
#define SLOTS ((1u << PAGE_BITS) / 2)

EXPORT int qemu_plugin_version = 1;

static uint64_t* counts[PAGES];
static uint32_t begin, end;
static const char* out = "executed.txt";

static uint64_t* slot(uint32_t address) {
    uint64_t** page = &counts[address >> PAGE_BITS];
    if (*page == NULL) {
        *page = calloc(SLOTS, sizeof **page);
        if (*page == NULL) {
            abort();
        }
    }
    return &(*page)[(address % (1u << PAGE_BITS)) / 2];
}

static void on_begin(unsigned int cpu, void* unused) {
    (void)cpu, (void)unused;
    for (uint32_t p = 0; p < PAGES; p++) {
        if (counts[p] != NULL) {
            memset(counts[p], 0, SLOTS * sizeof *counts[p]);
        }
    }
}

static void on_end(unsigned int cpu, void* unused) {
    (void)cpu, (void)unused;
    FILE* file = fopen(out, "w");
    if (file == NULL) {
        return;
    }
    for (uint32_t p = 0; p < PAGES; p++) {
        for (uint32_t i = 0; counts[p] != NULL && i < SLOTS; i++) {
            if (counts[p][i] != 0) {
                fprintf(file, "%" PRIx32 " %" PRIu64 "\n", (p << PAGE_BITS) | (i * 2),
                        counts[p][i]);
            }
        }
    }
    fclose(file);
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* block) {
    (void)id;
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
        struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(block, i);
        uint32_t address = (uint32_t)qemu_plugin_insn_vaddr(insn);
        if (address == begin) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_begin, QEMU_PLUGIN_CB_NO_REGS, NULL);
        }
        if (address == end) {
            qemu_plugin_register_vcpu_insn_exec_cb(insn, on_end, QEMU_PLUGIN_CB_NO_REGS, NULL);
        }
        qemu_plugin_register_vcpu_insn_exec_inline(insn, QEMU_PLUGIN_INLINE_ADD_U64, slot(address),
                                                   1);
    }
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void* info, int count, char** words) {
    (void)info;
    for (int i = 0; i < count; i++) {
        if (strncmp(words[i], "begin=", 6) == 0) {
            begin = (uint32_t)strtoul(words[i] + 6, NULL, 16);
        } else if (strncmp(words[i], "end=", 4) == 0) {
            end = (uint32_t)strtoul(words[i] + 4, NULL, 16);
        } else if (strncmp(words[i], "out=", 4) == 0) {
            out = strdup(words[i] + 4);
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
    return 0;
}
