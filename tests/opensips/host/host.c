/* A host for siplens.so that does what OpenSIPS does with a module, and nothing else: loads it, checks its strings, sets its
 * parameters, fixes the script's calls, calls init, forks, shows it messages, sends, asks MI and statistics, and ends.
 *
 * Driven by lines on standard input, each answered by one line on standard output; log lines go to standard error.
 *
 *   load MODULE VERSION_TEXT           param NAME str|int VALUE        script FUNCTION|ARGUMENT|…      beside MODULE_NAME
 *   init                               start WORKERS                   stop
 *   in W PROTO SOURCE DESTINATION METHOD CALL_ID CSEQ SIZE             a request (METHOD) or a reply (200/METHOD) comes in
 *   out W PROTO SOURCE DESTINATION METHOD CALL_ID CSEQ SIZE            one is sent
 *   local W PROTO SOURCE DESTINATION METHOD CALL_ID CSEQ SIZE          one of the proxy's own: local_route, then sent
 *   broken W PROTO SOURCE DESTINATION TEXT                             something that cannot be parsed comes in
 *   many W COUNT in|out PROTO SIZE                                     as many, each another call; answers microseconds
 *   get W NAME          set W NAME VALUE                               a variable, for the message that came in last
 *   raw                                 how many callbacks for raw messages were asked for
 *   mi COMMAND [NAME=VALUE|…]           stat NAME                       failing 0|1     what the transports' functions answer
 *
 * With `beside topology_hiding` the host also has a module that gives each call another Call-ID towards port 5080: what goes there
 * and what comes from there.
 *
 * A string argument of `script` is a literal; one that begins with $ is evaluated for each message: $ci, $null or a text,
 * in which ~ ends a line. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "layout.h"

/* ---- what the core exports ---- */
int process_no = 0, route_type = REQUEST_ROUTE, log_facility = 3 << 3;
static int level = 3;
int *log_level = &level;
char *log_prefix = "";
unsigned char protos[MAX_PROTO * (PROTO_SIZE + 8)];

struct callback { int (*function)(void *, void *); void *param; int type, prio; };
static struct callback callbacks[16];
static int callbacks_no, processes = 8;
static char other_module[64];

int __register_script_cb(int (*function)(void *, void *), int type, void *param, int prio)
{
	callbacks[callbacks_no++] = (struct callback){ function, param, type, prio };
	return 0;
}

/* Callbacks for raw messages: each may put other octets in place of those it is shown, and whoever comes next frees them. */
typedef int (*raw_callback)(str *, void *);
static raw_callback raw_callbacks[3][4];
static int register_raw(raw_callback function, int type, char freeable)
{
	int i = 0;
	if (freeable) abort();
	while (raw_callbacks[type][i]) i++;
	raw_callbacks[type][i] = function;
	return 0;
}
int register_pre_raw_processing_cb(raw_callback function, int type, char freeable) { return register_raw(function, type, freeable); }
int register_post_raw_processing_cb(raw_callback function, int type, char freeable) { return register_raw(function, type, freeable); }
static int run_raw(int type, str *data, void *msg)
{
	char *initial = data->s;
	for (int i = 0; raw_callbacks[type][i]; i++) {
		char *input = data->s;
		if (raw_callbacks[type][i](data, msg) < 0) return -1;
		if (input != initial && input != data->s) free(input);
	}
	return 0;
}

int count_child_processes(void) { return processes; }
int module_loaded(char *name) { return strcasecmp(name, other_module) == 0; }

void dprint(int lev, int facility, const char *module, const char *func, char *terminal, char *syslog, char *format, ...)
{
	va_list arguments;
	(void)facility, (void)func, (void)syslog, (void)format;
	if (!module || strcmp(module, "siplens") != 0 || lev > level) abort();
	va_start(arguments, format);
	vfprintf(stderr, terminal, arguments);
	va_end(arguments);
	fflush(stderr);
}

/* A format is its text; $ci in it becomes the Call-ID, $null nothing. */
static char evaluated[4][1024];
static char *call_id_of(void *msg)
{
	static char found[256];
	char *at = strstr(*(char **)((char *)msg + MSG_BUF), "Call-ID: ");
	if (!at || sscanf(at + 9, "%255[^\r]", found) != 1) strcpy(found, "none");
	return found;
}

static void evaluate(void *msg, str text, str *result)
{
	static int turn;
	char *to = evaluated[turn++ % 4], plain[512];
	snprintf(plain, sizeof plain, "%.*s", text.len, text.s);
	if (strcmp(plain, "$ci") == 0) snprintf(to, 1024, "%s", call_id_of(msg));
	else if (strcmp(plain, "$null") == 0) snprintf(to, 1024, "<null>");
	else if (plain[0] != '$') snprintf(to, 1024, "%s", plain);
	else {
		int n = 0;
		for (char *c = plain + 1; *c; c++) n += sprintf(to + n, *c == '~' ? "\r\n" : "%c", *c);
		to[n] = 0;
	}
	*result = (str){ to, strlen(to) };
}

int pv_parse_format(const str *text, void **prepared)
{
	str *copy = malloc(sizeof *copy);
	if (memchr(text->s, '%', text->len)) return -1;
	*copy = *text;
	*prepared = copy;
	return 0;
}

int pv_printf_s(void *msg, void *prepared, str *result) { evaluate(msg, *(str *)prepared, result); return 0; }

/* ---- MI: answers are built as JSON text ---- */
struct item { char text[65536]; int length, list; struct item *children[64]; char *names[64]; int children_no; };
static struct item *new_item(int list) { struct item *item = calloc(1, sizeof *item); item->list = list; return item; }
static char mi_fault[1024];
struct params { int no; char name[8][64], value[8][256]; };

static void add(struct item *to, const char *name, int name_len, const char *value)
{
	to->length += snprintf(to->text + to->length, sizeof to->text - to->length, "%s", to->length ? ", " : "");
	if (name) to->length += snprintf(to->text + to->length, sizeof to->text - to->length, "\"%.*s\": ", name_len, name);
	to->length += snprintf(to->text + to->length, sizeof to->text - to->length, "%s", value);
}

/* Children are written into their parents when the answer is printed, since they are filled after they were added. */
static struct item *child(struct item *to, const char *name, int name_len, int list)
{
	struct item *made = new_item(list);
	char mark[16];
	snprintf(mark, sizeof mark, "\1%d\2", to->children_no);
	add(to, name, name_len, mark);
	to->children[to->children_no++] = made;
	return made;
}

static void print_item(struct item *item)
{
	char *at = item->text;
	putchar(item->list ? '[' : '{');
	for (; *at; at++)
		if (*at == 1) { print_item(item->children[atoi(at + 1)]); at = strchr(at, 2); }
		else putchar(*at);
	putchar(item->list ? ']' : '}');
}

void *init_mi_result_object(void **object) { *object = new_item(0); return *object; }
void *init_mi_error_extra(int code, const char *text, int len, const char *more, int more_len)
{
	(void)more, (void)more_len;
	snprintf(mi_fault, sizeof mi_fault, "%d %.*s", code, len, text);
	return mi_fault;
}
int add_mi_number(void *to, char *name, int len, double value)
{
	char text[64];
	snprintf(text, sizeof text, "%.0f", value);
	add(to, name, len, text);
	return 0;
}
int add_mi_string(void *to, char *name, int len, const char *value, int value_len)
{
	char text[4096];
	snprintf(text, sizeof text, "\"%.*s\"", value_len, value);
	add(to, name, len, text);
	return 0;
}
void *add_mi_array(void *to, char *name, int len) { return child(to, name, len, 1); }
void *add_mi_object(void *to, char *name, int len) { return child(to, name, len, 0); }
int get_mi_string_param(const void *params, char *name, char **value, int *len)
{
	struct params *given = (struct params *)params;
	for (int i = 0; i < given->no; i++)
		if (strcmp(given->name[i], name) == 0) { *value = given->value[i]; *len = strlen(*value); return 0; }
	return -1;
}

static unsigned char message[MSG_SIZE + 64], receiving[SI_SIZE + 64], sending[SI_SIZE + 64];

/* ---- as topology_hiding does: the Call-ID backwards and with a prefix, towards the called side only ---- */
#define HIDDEN "DLGCH_"
static int towards_called;
static int change_call_id(str *data, int hide)
{
	char *at = memmem(data->s, data->len, "Call-ID: ", 9), *end, *to;
	if (!at) return 0;
	at += 9;
	end = memchr(at, '\r', data->s + data->len - at);
	if (hide == (strncmp(at, HIDDEN, sizeof HIDDEN - 1) == 0)) return 0;
	if (!hide) at += sizeof HIDDEN - 1;
	to = malloc(data->len + sizeof HIDDEN);
	int n = (hide ? at : at - (sizeof HIDDEN - 1)) - data->s;
	memcpy(to, data->s, n);
	if (hide) n += sprintf(to + n, HIDDEN);
	for (char *c = end; c > at; ) to[n++] = *--c;
	memcpy(to + n, end, data->s + data->len - end);
	data->len = n + (data->s + data->len - end);
	data->s = to;
	return 0;
}
static int th_came(str *data, void *msg) { if (msg) abort(); return change_call_id(data, 0); }
static int th_leaves(str *data, void *msg) { (void)msg; return towards_called ? change_call_id(data, 1) : 0; }

static const char *init(const struct exports *module)
{
	if (module->preinit && module->preinit() < 0) return "refused";
	if (strcmp(other_module, "topology_hiding") == 0) {
		register_pre_raw_processing_cb(th_came, 1, 0);
		register_post_raw_processing_cb(th_leaves, 2, 0);
	}
	return module->init() == 0 ? "ok" : "refused";
}

/* ---- transports ---- */
struct end { int af; unsigned char octets[16]; unsigned short port; };
static int failing;
static unsigned long sent_no;
static void put_ip(unsigned char *at, const struct end *end)
{
	*(unsigned int *)at = end->af;
	*(unsigned int *)(at + 4) = end->af == AF_INET ? 4 : 16;
	memcpy(at + 8, end->octets, 16);
}

static int transport_send(int proto, unsigned char *si, char *buf, unsigned int len)
{
	static unsigned char mask = 0x5a;
	if (failing) return -1;
	sent_no++;
	if (proto != UDP) {
#ifdef REAL_PORTS_INSIDE
		unsigned short *ports = (unsigned short *)(si + SI_REAL);
#else
		unsigned short *ports = *(unsigned short **)(si + SI_REAL);
#endif
		/* SCTP's are never told. */
		if (proto != SCTP) { ports[0] = 40001; ports[1] = 40002; }
	}
	/* As a WebSocket client does: where the message stands. */
	if (proto == WS || proto == WSS)
		for (unsigned int i = 0; i < len; i++) buf[i] ^= mask;
	return len;
}

#ifdef SEND_GETS_MESSAGE
#define SEND_ARGUMENTS void *si, char *buf, unsigned int len, const void *to, unsigned int id, void *msg
#define PASS_MESSAGE , message
/* What is passed on must be what we gave. */
#define USE_MESSAGE if (msg != message) abort()
#else
#define SEND_ARGUMENTS void *si, char *buf, unsigned int len, const void *to, unsigned int id
#define PASS_MESSAGE
#define USE_MESSAGE (void)0
#endif
typedef int (*send_f)(SEND_ARGUMENTS);
#define TRANSPORT(proto) static int send_##proto(SEND_ARGUMENTS) { (void)to, (void)id; USE_MESSAGE; return transport_send(proto, si, buf, len); }
TRANSPORT(UDP) TRANSPORT(TCP) TRANSPORT(TLS) TRANSPORT(SCTP) TRANSPORT(WS) TRANSPORT(WSS)

static void load_transports(void)
{
	static const unsigned short ports[] = { 0, 5060, 5060, 5061, 5060, 80, 443, 5062 };
	static const send_f sends[] = { NULL, send_UDP, send_TCP, send_TLS, send_SCTP, send_WS, send_WSS };
	for (int p = 1; p <= LAST_SIP; p++) {
		unsigned char *entry = protos + p * PROTO_STRIDE;
		*(unsigned short *)(entry + PROTO_RFC_PORT) = ports[p];
		if (p > WSS) continue;
		*(int *)(entry + PROTO_ID) = p;
		*(send_f *)(entry + PROTO_SEND) = sends[p];
	}
}

static int msg_send(int proto, unsigned char *si, char *buf, unsigned int len, void *to)
{
	str out = { buf, len };
	towards_called = ntohs(((struct sockaddr_in *)to)->sin_port) == 5080;
	run_raw(2, &out, NULL);
	int sent = (*(send_f *)(protos + proto * PROTO_STRIDE + PROTO_SEND))(si, out.s, out.len, to, 1 PASS_MESSAGE);
	/* Who kept a pointer to it reads rubbish. */
	if (out.s != buf) { memset(out.s, '#', out.len); free(out.s); }
	return sent;
}

/* ---- messages ---- */
static struct end parse_end(const char *text)
{
	struct end end = { 0 };
	char ip[64];
	const char *colon = strrchr(text, ':');
	snprintf(ip, sizeof ip, "%.*s", (int)(colon - text) - 2 * (text[0] == '['), text + (text[0] == '['));
	end.af = text[0] == '[' ? AF_INET6 : AF_INET;
	inet_pton(end.af, ip, end.octets);
	end.port = atoi(colon + 1);
	return end;
}

static int proto_of(const char *name)
{
	static const char *names[] = { "", "udp", "tcp", "tls", "sctp", "ws", "wss" };
	for (int p = 1; p <= WSS; p++)
		if (strcmp(name, names[p]) == 0) return p;
	exit(9);
}

static int build(char *to, const char *method, const char *call_id, int cseq, int size)
{
	const char *slash = strchr(method, '/');
	int n = slash ? sprintf(to, "SIP/2.0 %.*s OK\r\n", (int)(slash - method), method)
		      : sprintf(to, "%s sip:bob@127.0.0.1 SIP/2.0\r\n", method);
	n += sprintf(to + n, "Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK%s\r\nFrom: <sip:alice@127.0.0.1>;tag=a\r\n"
		"To: <sip:bob@127.0.0.1>\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContent-Length: 0\r\n", call_id, call_id, cseq,
		slash ? slash + 1 : method);
	if (size > n + 14) n += sprintf(to + n, "Subject: %0*d\r\n", size - n - 13, 0);
	return n + sprintf(to + n, "\r\n");
}

static char received_octets[1 << 17], sent_octets[1 << 17];
#ifndef REAL_PORTS_INSIDE
static unsigned short real_ports[2][2];
#endif

static void make_socket(unsigned char *si, const struct end *end, int proto, int which)
{
	memset(si, 0, SI_SIZE);
	put_ip(si + SI_ADDRESS, end);
	*(unsigned short *)(si + SI_PORT) = end->port;
	*(int *)(si + SI_PROTO) = proto;
	(void)which;
#ifndef REAL_PORTS_INSIDE
	*(unsigned short **)(si + SI_REAL) = real_ports[which];
#endif
	/* Every socket advertises 192.0.2.7 and a port of its own. */
	struct end advertised = { AF_INET, { 192, 0, 2, 7 }, 0 };
	put_ip(si + SI_ADV_ADDRESS, &advertised);
	*(unsigned short *)(si + SI_ADV_PORT) = 7000;
}

static void make_message(int proto, const struct end *src, const struct end *dst, char *octets, int len)
{
	unsigned char *rcv = message + RCV_AT;
	memset(message, 0, sizeof message);
	*(int *)(message + MSG_TYPE) = memcmp(octets, "SIP/2.0 ", 8) == 0 ? 2 : 1;
	*(char **)(message + MSG_BUF) = octets;
	*(unsigned int *)(message + MSG_LEN) = len;
	put_ip(rcv + RCV_SRC, src);
	put_ip(rcv + RCV_DST, dst);
	*(unsigned short *)(rcv + RCV_SRC_PORT) = src->port;
	*(unsigned short *)(rcv + RCV_DST_PORT) = dst->port;
	*(int *)(rcv + RCV_PROTO) = proto;
	make_socket(receiving, dst, proto, 0);
	*(unsigned char **)(rcv + RCV_SOCKET) = receiving;
}

/* ---- the script: at most a few calls, run for every message ---- */
static const struct exports *module;
struct call { const struct cmd *cmd; str arguments[8]; int given[8]; };
static struct call script[8];
static int script_no;

static int run_callbacks(int mask)
{
	int order[16], n = 0, answer = 3;
	for (int i = 0; i < callbacks_no; i++)
		if ((callbacks[i].type & mask) == mask) order[n++] = i;
	for (int i = 0; i < n; i++) answer &= callbacks[order[i]].function(message, callbacks[order[i]].param);
	return answer;
}

static int run_script(void)
{
	int answer = 1;
	for (int i = 0; i < script_no; i++) {
		str values[8];
		void *pointers[8] = { 0 };
		for (int a = 0; a < 8; a++) {
			if (!script[i].given[a]) continue;
			values[a] = script[i].arguments[a];
			pointers[a] = &values[a];
			if (values[a].s[0] != '$') continue;
			evaluate(message, script[i].arguments[a], &values[a]);
			if (script[i].cmd->params[a].fixup && script[i].cmd->params[a].fixup(&pointers[a]) < 0) return -1;
		}
		answer = script[i].cmd->function(message, pointers[0], pointers[1], pointers[2], pointers[3], pointers[4],
			pointers[5], pointers[6], pointers[7]);
	}
	return answer;
}

/* As receive_msg() does. */
static int receive(void)
{
	int is_request = *(int *)(message + MSG_TYPE) == 1, kind = is_request ? 4 : 8, answer;
	route_type = is_request ? REQUEST_ROUTE : ONREPLY_ROUTE;
	if (run_callbacks(1 | kind) != 3) return -2;
	answer = run_script();
	run_callbacks(2 | kind);
	return answer;
}

static const char *come(int proto, const char *src, const char *dst, const char *method, const char *id, int cseq, int size)
{
	static char answer[32];
	struct end from = parse_end(src), to = parse_end(dst);
	str in = { received_octets, build(received_octets, method, id, cseq, size) };
	if (run_raw(1, &in, NULL) < 0) return "dropped";
	make_message(proto, &from, &to, in.s, in.len);
	snprintf(answer, sizeof answer, "%d", receive());
	/* A variable may be asked for later; so the octets are moved, not freed. */
	if (in.s != received_octets) {
		static char last[1 << 17];
		memcpy(last, in.s, in.len);
		last[in.len] = 0;
		*(char **)(message + MSG_BUF) = last;
		memset(in.s, '#', in.len);
		free(in.s);
	}
	return answer;
}

static const char *go(int proto, const char *src, const char *dst, int len)
{
	static char answer[32];
	struct end from = parse_end(src), to = parse_end(dst);
	union { unsigned char octets[28]; struct sockaddr_in v4; struct sockaddr_in6 v6; } su = { { 0 } };
	su.v4.sin_family = to.af;
	su.v4.sin_port = htons(to.port);
	if (to.af == AF_INET) memcpy(&su.v4.sin_addr, to.octets, 4);
	else memcpy(&su.v6.sin6_addr, to.octets, 16);
	make_socket(sending, &from, proto, 1);
	snprintf(answer, sizeof answer, "%d", msg_send(proto, sending, sent_octets, len, &su));
	return answer;
}

static const struct pv *variable(const char *name, unsigned char *spec)
{
	char outer[64], inner[64] = "";
	sscanf(name, "%63[^(](%63[^)])", outer, inner);
	str in = { inner, strlen(inner) };
	for (const struct pv *pv = module->items; pv->name.s; pv++)
		if (strncmp(pv->name.s, outer, pv->name.len) == 0 && (int)strlen(outer) == pv->name.len)
			return pv->parse_name(spec, &in) == 0 ? pv : NULL;
	return NULL;
}

/* One line, in the worker that it is for. */
static const char *work(char *line)
{
	static char answer[2048];
	char what[16], proto[8], src[64], dst[64], method[32], id[128], rest[1024];
	int worker, cseq, size;
	if (sscanf(line, "%15s %d %7s %63s %63s %31s %127s %d %d", what, &worker, proto, src, dst, method, id, &cseq, &size) == 9) {
		if (strcmp(what, "in") == 0) return come(proto_of(proto), src, dst, method, id, cseq, size);
		int len = build(sent_octets, method, id, cseq, size);
		if (strcmp(what, "local") == 0) {
			struct end from = parse_end(src);
			memcpy(received_octets, sent_octets, len + 1);
			make_message(proto_of(proto), &from, &from, received_octets, len);
			route_type = LOCAL_ROUTE;
			run_script();
			route_type = REQUEST_ROUTE;
		}
		return go(proto_of(proto), src, dst, len);
	}
	if (sscanf(line, "broken %d %7s %63s %63s %1023[^\n]", &worker, proto, src, dst, rest) == 5) {
		struct end from = parse_end(src), to = parse_end(dst);
		make_message(proto_of(proto), &from, &to, received_octets, sprintf(received_octets, "%s", rest));
		*(int *)(message + MSG_TYPE) = 0;
		run_callbacks(16);
		return "0";
	}
	if (sscanf(line, "many %d %d %15s %7s %d", &worker, &cseq, what, proto, &size) == 5) {
		struct timespec start, end;
		int in = strcmp(what, "in") == 0;
		clock_gettime(CLOCK_MONOTONIC, &start);
		for (int i = 0; i < cseq; i++) {
			snprintf(id, sizeof id, "many-%d-%d", worker, i);
			if (in) come(proto_of(proto), "127.0.0.1:5070", "127.0.0.1:5060", "OPTIONS", id, 1, size);
			else go(proto_of(proto), "127.0.0.1:5060", "127.0.0.1:5080", build(sent_octets, "OPTIONS", id, 1, size));
		}
		clock_gettime(CLOCK_MONOTONIC, &end);
		snprintf(answer, sizeof answer, "%ld", (end.tv_sec - start.tv_sec) * 1000000 + (end.tv_nsec - start.tv_nsec) / 1000);
		return answer;
	}
	if (sscanf(line, "get %d %63s", &worker, src) == 2) {
		unsigned char spec[128] = { 0 };
		struct pv_value value = { { NULL, 0 }, 0, 0 };
		const struct pv *pv = variable(src, spec);
		if (!pv) return "none";
		if (pv->get(message, spec + 24, &value) != 0) return "failed";
		if (value.flags & 1) return "null";
		snprintf(answer, sizeof answer, "%.*s", value.rs.len, value.rs.s);
		return answer;
	}
	if (sscanf(line, "set %d %63s %1023[^\n]", &worker, src, rest) == 3) {
		unsigned char spec[128] = { 0 };
		struct pv_value value = { { rest, strlen(rest) }, 0, 4 };
		const struct pv *pv = variable(src, spec);
		snprintf(answer, sizeof answer, "%d", pv ? pv->set(message, spec + 24, 0, &value) : -9);
		return answer;
	}
	if (sscanf(line, "failing %d %d", &worker, &failing) == 2) return "0";
	return "what?";
}

/* ---- the main process ---- */
static pid_t children[64];
static FILE *to_worker[32], *from_worker[32];
static int children_no, workers_no;

static void ignore(int signal) { (void)signal; }

/* As the core: the first processes are those of modules. A child ends by its handler of SIGTERM. */
static void on_term(int signal) { (void)signal; exit(0); }

static pid_t fork_process(void)
{
	static int next = 0;
	sigset_t term;
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	/* It may come before the handler is there. */
	sigprocmask(SIG_BLOCK, &term, NULL);
	fflush(NULL);
	pid_t pid = fork();
	next++;
	if (pid == 0) { process_no = next; signal(SIGTERM, on_term); signal(SIGCHLD, ignore); }
	else children[children_no++] = pid;
	sigprocmask(SIG_UNBLOCK, &term, NULL);
	return pid;
}

static void start(int workers)
{
	for (const struct proc *proc = module->procs; proc && proc->name; proc++)
		for (unsigned int i = 0; i < proc->no; i++)
			if (fork_process() == 0) { proc->function(i); _exit(3); }
	for (workers_no = 0; workers_no < workers; workers_no++) {
		int there[2], back[2];
		if (pipe(there) || pipe(back)) exit(8);
		if (fork_process() == 0) {
			char line[4096];
			FILE *in = fdopen(there[0], "r"), *out = fdopen(back[1], "w");
			while (fgets(line, sizeof line, in)) { fprintf(out, "%s\n", work(line)); fflush(out); }
			_exit(0);
		}
		/* So that the end of a worker is seen. */
		close(there[0]);
		close(back[1]);
		to_worker[workers_no] = fdopen(there[1], "w");
		from_worker[workers_no] = fdopen(back[0], "r");
	}
}

static const char *load(const char *path, const char *version_text)
{
	static char answer[600];
	char line[1024], version[256] = "", flags[512] = "", scm[64] = "";
	FILE *file = fopen(version_text, "r");
	while (file && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, "version: ", 9) == 0) snprintf(version, sizeof version, "%s", line + 9);
		else if (strncmp(line, "flags: ", 7) == 0) snprintf(flags, sizeof flags, "%s", line + 7);
		else if (strstr(line, " revision: ")) snprintf(scm, sizeof scm, "%.*s", (int)(strstr(line, " revision: ") - line), line);
	}
	void *handle = dlopen(path, RTLD_NOW);
	if (!handle) { snprintf(answer, sizeof answer, "cannot open: %s", dlerror()); return answer; }
	module = dlsym(handle, "exports");
	if (!module) return "no exports";
	if (strcmp(module->ver.version, version) != 0) return "module version mismatch";
	if (strcmp(module->ver.flags, flags) != 0) return "module compile flags mismatch";
	if (strcmp(module->ver.scm_type, scm) != 0) return "module version control mismatch";
	if (module->load && module->load() < 0) return "load failed";
	return "ok";
}

static const char *set_param(const char *name, const char *kind, const char *value)
{
	unsigned int type = strcmp(kind, "int") == 0 ? 2 : 1;
	for (const struct param *param = module->params; param->name; param++) {
		if (strcmp(param->name, name) != 0) continue;
		if (!(param->type & type)) return "type mismatch";
		if (param->type & (1U << 31)) {
			int (*function)(unsigned int, void *) = (int (*)(unsigned int, void *))param->pointer;
			return function(type, (void *)value) < 0 ? "refused" : "ok";
		}
		if (type == 2) *(int *)param->pointer = atoi(value);
		else *(char **)param->pointer = strdup(value);
		return "ok";
	}
	return "not found";
}

/* As the core fixes a call: literals by their fixup, what is left out only if the parameter asks for that. */
static const char *fix(char *text)
{
	struct call *call = &script[script_no];
	char *name = strsep(&text, "|");
	for (call->cmd = module->cmds; call->cmd->name && strcmp(call->cmd->name, name) != 0; call->cmd++);
	if (!call->cmd->name) return "unknown command";
	for (int a = 0; a < 8 && call->cmd->params[a].flags; a++) {
		char *argument = text ? strsep(&text, "|") : NULL;
		const struct cmd_param *param = &call->cmd->params[a];
		void *pointer = NULL;
		call->given[a] = argument && strcmp(argument, "-") != 0;
		if (call->given[a]) {
			char *copy = strdup(argument);
			call->arguments[a] = (str){ copy, strlen(copy) };
			pointer = &call->arguments[a];
			if (copy[0] == '$' || !param->fixup) continue;
		} else if (!(param->flags & 16)) return "missing argument";
		else if (!(param->flags & 32) || !param->fixup) continue;
		if (param->fixup(&pointer) < 0) return "refused";
	}
	if (text) return "too many arguments";
	script_no++;
	return "ok";
}

static void ask_mi(char *text)
{
	struct params params = { 0 };
	char *command = strsep(&text, " "), *pair;
	while (text && (pair = strsep(&text, "|"))) {
		char *equals = strchr(pair, '=');
		snprintf(params.name[params.no], 64, "%.*s", (int)(equals - pair), pair);
		snprintf(params.value[params.no++], 256, "%s", equals + 1);
	}
#ifdef MI_NAMESPACE
	if (strncmp(command, "siplens:", 8) != 0) { printf("no such command\n"); return; }
	command += 8;
#endif
	for (const struct mi *mi = module->mi; mi->name; mi++) {
		if (strcmp(mi->name, command) != 0) continue;
		for (const struct recipe *recipe = mi->recipes; recipe->cmd; recipe++) {
			int no = 0, same = 1;
			for (; no < MI_PARAMS && recipe->params[no]; no++) {
				int found = 0;
				for (int i = 0; i < params.no; i++) found |= strcmp(params.name[i], recipe->params[no]) == 0;
				same &= found;
			}
			if (!same || no != params.no) continue;
			void *answer = recipe->cmd(&params, NULL);
			if (answer == mi_fault) printf("fault %s\n", mi_fault);
			else if (!answer) printf("command failed\n");
			else { print_item(answer); putchar('\n'); }
			return;
		}
		printf("no such parameters\n");
		return;
	}
	printf("no such command\n");
}

/* As the core: everybody is asked to end, and waited for. */
static const char *stop(void)
{
	static char answer[64];
	int status, ended = 0, badly = 0;
	for (int i = 0; i < children_no; i++) kill(children[i], SIGTERM);
	for (int i = 0; i < children_no; i++)
		if (waitpid(children[i], &status, 0) == children[i]) { ended++; badly += status != 0; }
	if (module->destroy) module->destroy();
	snprintf(answer, sizeof answer, "%d ended, %d badly", ended, badly);
	return answer;
}

int main(void)
{
	static char line[8192], a[512], b[512], c[4096];
	int worker;
	load_transports();
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "load %511s %511s", a, b) == 2) puts(load(a, b));
		else if (sscanf(line, "beside %63s", other_module) == 1) puts("ok");
		else if (sscanf(line, "param %511s %511s %4095[^\n]", a, b, c) == 3) puts(set_param(a, b, c));
		else if (sscanf(line, "script %4095[^\n]", c) == 1) puts(fix(c));
		else if (strcmp(line, "init") == 0) puts(init(module));
		else if (sscanf(line, "start %d", &worker) == 1) { start(worker); puts("ok"); }
		else if (strncmp(line, "mi ", 3) == 0) ask_mi(line + 3);
		else if (sscanf(line, "stat %511s", a) == 1) {
			const struct stat *stat = module->stats;
			while (stat->name && strcmp(stat->name, a) != 0) stat++;
			if (stat->name && stat->flags & 8) printf("%lu\n", stat->function(NULL));
			else puts("no such statistic");
		}
		else if (strcmp(line, "raw") == 0) {
			int counts[3] = { 0 };
			for (int type = 1; type <= 2; type++) while (raw_callbacks[type][counts[type]]) counts[type]++;
			printf("%d before, %d after\n", counts[1], counts[2]);
		}
		else if (strcmp(line, "params") == 0) {
			for (const struct param *param = module->params; param->name; param++) printf("%s ", param->name);
			putchar('\n');
		}
		else if (strcmp(line, "stop") == 0) { puts(stop()); fflush(stdout); return 0; }
		else if (sscanf(line, "%*s %d", &worker) == 1 && worker >= 0 && worker < workers_no) {
			fprintf(to_worker[worker], "%s\n", line);
			fflush(to_worker[worker]);
			puts(fgets(c, sizeof c, from_worker[worker]) ? strtok(c, "\n") : "the worker has died");
		}
		else puts("what?");
		fflush(stdout);
	}
	stop();
	return 0;
}
