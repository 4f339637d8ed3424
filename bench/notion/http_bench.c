/* SPDX-License-Identifier: Apache-2.0
 *
 * http_bench URL SOURCE N: creates N pages through libcurl alone, one after the other over one
 * connection, and prints the CPU time of a request in µs: what is left when there is no ledger, no
 * window, and nobody reads the answers. Bodies go out by a function, as those of onerow.
 */
#include <curl/curl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static size_t drop(char *data, size_t size, size_t n, void *context)
{
    (void)data;
    (void)context;
    return size * n;
}

static size_t give(char *to, size_t size, size_t n, void *context)
{
    const char **body = context;
    size_t len = strlen(*body) < size * n ? strlen(*body) : size * n;
    memcpy(to, *body, len);
    *body += len;
    return len;
}

static void send_one(CURLM *multi, CURL *easy, struct curl_slist *headers, const char *url,
                     const char *body)
{
    long status = 0;
    int running = 1;
    curl_easy_setopt(easy, CURLOPT_URL, url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, (long)strlen(body));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, give);
    curl_easy_setopt(easy, CURLOPT_READDATA, &body);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, drop);
    curl_multi_add_handle(multi, easy);
    while (running) {
        curl_multi_perform(multi, &running);
        if (running) {
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
        }
    }
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    curl_multi_remove_handle(multi, easy);
    curl_easy_reset(easy);
    if (status != 200) {
        fprintf(stderr, "http_bench: %ld\n", status);
        exit(1);
    }
}

int main(int argc, char **argv)
{
    char text[600];
    struct rusage used;
    const char *token = getenv("NOTION_TOKEN");
    if (argc != 4 || !token) {
        return 64;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM *multi = curl_multi_init();
    CURL *easy = curl_easy_init();
    (void)snprintf(text, sizeof text, "Authorization: Bearer %s", token);
    struct curl_slist *headers = curl_slist_append(NULL, text);
    headers = curl_slist_append(headers, "Notion-Version: 2025-09-03");
    headers = curl_slist_append(headers, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    unsigned n = (unsigned)strtoul(argv[3], NULL, 10);
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text,
                       "{\"parent\":{\"type\":\"data_source_id\",\"data_source_id\":\"%s\"},"
                       "\"properties\":{\"Name\":{\"title\":[{\"text\":{\"content\":\"q%u\"}}]}}}",
                       argv[2], i);
        send_one(multi, easy, headers, argv[1], text);
    }
    getrusage(RUSAGE_SELF, &used);
    double seconds = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
                     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%.1f\n", n ? 1e6 * seconds / n : 0);
    curl_slist_free_all(headers);
    curl_easy_cleanup(easy);
    curl_multi_cleanup(multi);
    return 0;
}
