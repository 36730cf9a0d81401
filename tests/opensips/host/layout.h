/* Where a host of each version has what a module reads. Written from OpenSIPS' headers by hand, and not from the module's
 * table: a wrong number in either shows. Compiled with -DVERSION=34, 35, 36 or 40. */

#if VERSION == 34
enum { MSG_SIZE = 2472, MSG_RCV = 480, MSG_BUF = 584, MSG_LEN = 592 };
enum { SI_SIZE = 272, SI_ADDRESS = 40, SI_PORT = 80, SI_PROTO = 136, SI_ADV_ADDRESS = 224, SI_ADV_PORT = 248, SI_REAL = 264 };
enum { PROTO_SIZE = 128, PROTO_SEND = 32, LAST_SIP = 6, MI_PARAMS = 10, MI_ALIASES = 0 };
#define REAL_PORTS_INSIDE 1
#elif VERSION == 35
enum { MSG_SIZE = 2496, MSG_RCV = 504, MSG_BUF = 608, MSG_LEN = 616 };
enum { SI_SIZE = 288, SI_ADDRESS = 40, SI_PORT = 80, SI_PROTO = 136, SI_ADV_ADDRESS = 224, SI_ADV_PORT = 248, SI_REAL = 280 };
enum { PROTO_SIZE = 136, PROTO_SEND = 32, LAST_SIP = 7, MI_PARAMS = 10, MI_ALIASES = 0 };
#elif VERSION == 36
enum { MSG_SIZE = 2496, MSG_RCV = 504, MSG_BUF = 608, MSG_LEN = 616 };
enum { SI_SIZE = 288, SI_ADDRESS = 40, SI_PORT = 80, SI_PROTO = 136, SI_ADV_ADDRESS = 224, SI_ADV_PORT = 248, SI_REAL = 280 };
enum { PROTO_SIZE = 144, PROTO_SEND = 40, LAST_SIP = 7, MI_PARAMS = 10, MI_ALIASES = 0 };
#elif VERSION == 40
enum { MSG_SIZE = 2560, MSG_RCV = 504, MSG_BUF = 672, MSG_LEN = 680 };
enum { SI_SIZE = 312, SI_ADDRESS = 56, SI_PORT = 96, SI_PROTO = 152, SI_ADV_ADDRESS = 240, SI_ADV_PORT = 264, SI_REAL = 304 };
enum { PROTO_SIZE = 168, PROTO_SEND = 40, LAST_SIP = 7, MI_PARAMS = 20, MI_ALIASES = 4 };
#define SEND_GETS_MESSAGE 1
#define MI_NAMESPACE 1
#else
#error "VERSION: expected 34, 35, 36 or 40"
#endif

/* A host that is laid out in another way than it says. */
#ifdef WRONG_PROTOS
#define PROTO_STRIDE (PROTO_SIZE + 8)
#else
#define PROTO_STRIDE PROTO_SIZE
#endif
#ifdef WRONG_MESSAGE
#define RCV_AT (MSG_RCV - 8)
#else
#define RCV_AT MSG_RCV
#endif

/* The same in all versions. */
enum { MSG_TYPE = 8, RCV_SRC = 0, RCV_DST = 24, RCV_SRC_PORT = 48, RCV_DST_PORT = 50, RCV_PROTO = 52, RCV_SOCKET = 96 };
enum { PROTO_RFC_PORT = 8, PROTO_ID = 12, MAX_PROTO = 20 };
enum { UDP = 1, TCP = 2, TLS = 3, SCTP = 4, WS = 5, WSS = 6 };
enum { REQUEST_ROUTE = 1, ONREPLY_ROUTE = 4, LOCAL_ROUTE = 32 };
enum { MI_RECIPES = 48 };

typedef struct { char *s; int len; } str;
struct cmd_param { int flags; int (*fixup)(void **); int (*free_fixup)(void **); };
struct cmd {
	const char *name;
	int (*function)(void *, void *, void *, void *, void *, void *, void *, void *, void *);
	struct cmd_param params[9];
	int flags;
};
struct param { const char *name; unsigned int type; void *pointer; };
struct stat { const char *name; unsigned short flags; unsigned long (*function)(void *); };
struct proc { const char *name; int (*pre)(void); int (*post)(void); void (*function)(int); unsigned int no, flags; };
struct recipe { void *(*cmd)(const void *, void *); const char *params[MI_PARAMS]; };
struct mi {
	const char *name, *help;
	unsigned int flags;
	int (*init)(void);
	struct recipe recipes[MI_RECIPES];
#ifdef MI_NAMESPACE
	const char *aliases[MI_ALIASES];
#endif
};
struct pv_value { str rs; int ri, flags; };
struct pv {
	str name;
	int type;
	int (*get)(void *, void *, struct pv_value *);
	int (*set)(void *, void *, int, struct pv_value *);
	int (*parse_name)(void *, const str *);
	void *parse_index, *init_param;
	int iparam;
};
struct exports {
	const char *name;
	int type;
	struct { const char *version, *flags, *scm_type, *scm_rev; } ver;
	unsigned int dlflags;
	int (*load)(void);
	void *deps;
	const struct cmd *cmds;
	void *acmds;
	const struct param *params;
	const struct stat *stats;
	const struct mi *mi;
	const struct pv *items;
	void *trans;
	const struct proc *procs;
	int (*preinit)(void);
	int (*init)(void);
	int (*response)(void *);
	void (*destroy)(void);
	int (*child_init)(int);
	int (*reload_ack)(void);
};
_Static_assert(sizeof(struct exports) == 184 && sizeof(struct cmd) == 240 && sizeof(struct pv) == 72, "tables");
_Static_assert(sizeof(struct proc) == 40 && sizeof(struct mi) == 32 + MI_RECIPES * (8 + 8 * MI_PARAMS) + 8 * MI_ALIASES, "tables");
