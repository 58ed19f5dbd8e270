/* SPDX-License-Identifier: BSD-3-Clause
 * Runs a fuzz target over files and folders of inputs, without libFuzzer: the corpus as a test, in
 * any build and with any compiler. Inputs are read before the target closes the world off. */
#include <glib.h>
#include <stdint.h>
#include <stdio.h>

int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_file(GPtrArray *inputs, const char *path)
{
    char *data;
    gsize len;
    GError *err = NULL;

    if (!g_file_get_contents(path, &data, &len, &err))
        g_error("%s", err->message);
    g_ptr_array_add(inputs, g_bytes_new_take(data, len));
}

static void add(GPtrArray *inputs, const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    if (!dir) {
        add_file(inputs, path);
        return;
    }
    while ((name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *full = g_build_filename(path, name, NULL);
        add_file(inputs, full);
    }
    g_dir_close(dir);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) inputs = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);

    for (int i = 1; i < argc; i++)
        add(inputs, argv[i]);
    if (inputs->len == 0) {
        fprintf(stderr, "no inputs: an empty corpus proves nothing\n");
        return 1;
    }
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (unsigned i = 0; i < inputs->len; i++) {
        gsize len;
        const uint8_t *data = g_bytes_get_data(inputs->pdata[i], &len);
        LLVMFuzzerTestOneInput(data, len);
    }
    printf("%u inputs replayed\n", inputs->len);
    return 0;
}
