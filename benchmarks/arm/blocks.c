// A plugin of QEMU that counts the instructions between two marks of the emulated program, block by block.
//
// The mark is a system call that means nothing else: getpriority with 0x656C7361 + n for its `which` (an error there).
// n = 0 forgets what was counted, any other n writes one line for each block that ran since:
//
//   n count bytes-of-its-instructions-in-hex
//
// Argument: out=FILE. Compiled against qemu-plugin.h of the emulator that loads it.
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <qemu-plugin.h>

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static const int64_t kGetPriority = 141;  // on aarch64
static const uint64_t kMark = 0x656C7361;

typedef struct {
  uint64_t count;
  GString* code;
} Block;

static GMutex lock;
static GPtrArray* blocks;
static FILE* out;

// The same code may be translated more than once: each translation counts for itself.
static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  Block* block = g_new0(Block, 1);
  block->code = g_string_new(NULL);
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); ++i) {
    const struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const uint8_t* byte = qemu_plugin_insn_data(insn);
    for (size_t b = 0; b < qemu_plugin_insn_size(insn); ++b) g_string_append_printf(block->code, "%02x", byte[b]);
  }
  g_mutex_lock(&lock);
  g_ptr_array_add(blocks, block);
  g_mutex_unlock(&lock);
  qemu_plugin_register_vcpu_tb_exec_inline(tb, QEMU_PLUGIN_INLINE_ADD_U64, &block->count, 1);
}

static void on_call(qemu_plugin_id_t id, unsigned int cpu, int64_t number, uint64_t which, uint64_t b, uint64_t c,
                    uint64_t d, uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  // An int of the program, so its upper half may be anything.
  const uint64_t mark = (which & 0xFFFFFFFF) - kMark;
  if (number != kGetPriority || mark > 0xFFFF) return;
  g_mutex_lock(&lock);
  for (guint i = 0; i < blocks->len; ++i) {
    Block* block = g_ptr_array_index(blocks, i);
    if (mark != 0 && block->count != 0) fprintf(out, "%" PRIu64 " %" PRIu64 " %s\n", mark, block->count, block->code->str);
    block->count = 0;
  }
  fflush(out);
  g_mutex_unlock(&lock);
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int count, char** words) {
  (void)info;
  if (count != 1 || strncmp(words[0], "out=", 4) != 0 || !(out = fopen(words[0] + 4, "w"))) return -1;
  blocks = g_ptr_array_new();
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  qemu_plugin_register_vcpu_syscall_cb(id, on_call);
  return 0;
}
