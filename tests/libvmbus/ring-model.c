/* SPDX-License-Identifier: MIT */
/* Every interleaving of a writer and a reader, on a model of memory in which each
 * thread's stores wait in a queue of its own and become visible later (what x86
 * does, at its worst). A wake-up is lost if a state is reached in which nobody can
 * go on; there must be none. With any one of the four fences made to do nothing
 * there must be one, or this test could not fail.
 *
 * A thread's next access is found by running it again from its last checkpoint
 * with the results that its accesses had so far. */
#define VMBUS_MEMORY_MODEL
#include "ring-rx.c"
#include "ring-tx.c"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#define LOG_MAX 48
#define QUEUE_MAX 8
#define RING_BYTES 4096

enum word { IN, OUT, MASK, PENDING, OTHER, WORDS };
static const char *const word_names[WORDS] = {"in", "out", "interrupt_mask", "pending_send_size", "none"};

enum kind { LOAD, STORE, FENCE, SIGNAL, WAIT, CHECKPOINT, DONE };
struct op {
	enum kind kind;
	enum word word;
	uint16_t value;
};

struct thread {
	union { /* at the last checkpoint */
		struct vmbus_rx rx;
		struct vmbus_tx tx;
	} end;
	uint16_t packets, batch;
	uint16_t steps; /* accesses since the checkpoint, and their results */
	uint16_t log[LOG_MAX];
	uint16_t queued;
	struct {
		uint16_t word, value;
	} queue[QUEUE_MAX];
	uint16_t last_store; /* names the fence that follows */
	bool bell;
};

/* Copied with memcpy() and hashed as bytes, padding and all. */
struct state {
	uint32_t words[WORDS];
	struct thread threads[2]; /* writer, reader */
};

static const struct config {
	const char *name;
	uint32_t packet; /* ring bytes of one; divides the ring, so that nothing wraps */
	uint16_t packets;
	uint16_t batch;  /* publishes for one decision on a signal */
	uint16_t commit; /* packets read for one commit */
	bool unmasked;   /* a reader that never masks, as Linux' direct mode */
} configs[] = {
	{"one by one", 1024, 4, 1, 1, false},
	{"signals for batches of 2", 1024, 5, 2, 1, false},
	{"signals for batches of 3, commits at the end", 1024, 6, 3, 100, false},
	{"room for one packet only", 2048, 4, 1, 1, false},
	{"room for one packet only, batches of 2", 2048, 5, 2, 2, false},
	{"wakes for room of two packets", 512, 9, 4, 3, false},
	{"a reader that never masks", 1024, 5, 2, 1, true},
};

static const struct config *config;
static enum word broken; /* the fence behind a store to this word does nothing */
static struct vmbus_ring_control control;
static uint8_t data[RING_BYTES], payload[RING_BYTES];

/* -- A thread, run up to its next access ---------------------------------- */

static jmp_buf stopped;
static struct thread *running; /* a copy */
static unsigned int replayed;
static struct op next_op;

static uint16_t access_do(enum kind kind, enum word word, uint32_t value)
{
	if (replayed < running->steps)
		return running->log[replayed++];
	next_op = (struct op){kind, word, (uint16_t)value};
	longjmp(stopped, 1);
}

static enum word word_of(const uint32_t *word)
{
	if (word == &control.in)
		return IN;
	if (word == &control.out)
		return OUT;
	if (word == &control.interrupt_mask)
		return MASK;
	return word == &control.pending_send_size ? PENDING : OTHER;
}

uint32_t vmbus_model_load(const uint32_t *word)
{
	return access_do(LOAD, word_of(word), 0);
}

void vmbus_model_store(uint32_t *word, uint32_t value)
{
	(void)access_do(STORE, word_of(word), value);
}

void vmbus_model_fence(void)
{
	(void)access_do(FENCE, OTHER, 0);
}

static void writer_run(struct thread *t)
{
	struct vmbus_tx *tx = &t->end.tx;
	const struct vmbus_packet packet = {
		.type = VMBUS_PACKET_INBAND,
		.payload = payload,
		.payload_len = config->packet - 24,
	};

	while (t->packets < config->packets) {
		(void)access_do(CHECKPOINT, OTHER, 0);
		if (vmbus_tx_put(tx, &packet, 0) == 0) {
			vmbus_tx_publish(tx);
			t->packets++;
			if (++t->batch < config->batch)
				continue;
			t->batch = 0;
			if (vmbus_tx_signal_due(tx))
				(void)access_do(SIGNAL, OTHER, 0);
			continue;
		}
		if (vmbus_tx_signal_due(tx))
			(void)access_do(SIGNAL, OTHER, 0);
		if (!vmbus_tx_wait_space(tx, config->packet))
			(void)access_do(WAIT, OTHER, 0);
	}
	if (vmbus_tx_signal_due(tx))
		(void)access_do(SIGNAL, OTHER, 0);
}

static void reader_commit(struct thread *t)
{
	t->batch = 0;
	if (vmbus_rx_commit(&t->end.rx))
		(void)access_do(SIGNAL, OTHER, 0);
}

static void reader_run(struct thread *t)
{
	static uint64_t buf[RING_BYTES / 8];
	struct vmbus_packet packet;

	while (t->packets < config->packets) {
		(void)access_do(CHECKPOINT, OTHER, 0);
		if (vmbus_rx_next(&t->end.rx, buf, sizeof(buf), &packet) == 0) {
			t->packets++;
			if (++t->batch >= config->commit)
				reader_commit(t);
			continue;
		}
		reader_commit(t);
		if (config->unmasked) {
			if (!vmbus_rx_pending(&t->end.rx))
				(void)access_do(WAIT, OTHER, 0);
		} else if (!vmbus_rx_arm(&t->end.rx)) {
			(void)access_do(WAIT, OTHER, 0);
			vmbus_rx_disarm(&t->end.rx);
		}
	}
	reader_commit(t);
}

/* What thread @i of @s does next; *@after is the thread as it then is. */
static struct op thread_next(const struct state *s, int i, struct thread *after)
{
	memcpy(after, &s->threads[i], sizeof(*after));
	running = after;
	replayed = 0;
	next_op = (struct op){DONE, OTHER, 0};
	if (setjmp(stopped) == 0) {
		if (i == 0)
			writer_run(after);
		else
			reader_run(after);
	}
	return next_op;
}

/* -- One step of the model ------------------------------------------------ */

static uint16_t load(const struct state *s, const struct thread *t, enum word word)
{
	for (unsigned int i = t->queued; i-- > 0;)
		if (t->queue[i].word == word)
			return t->queue[i].value; /* a thread sees its own stores */
	return (uint16_t)s->words[word];
}

static bool op_enabled(const struct thread *t, struct op op)
{
	switch (op.kind) {
	case DONE:
		return false;
	case WAIT:
		return t->bell;
	case FENCE:
		return t->queued == 0 || t->last_store == broken;
	case STORE:
		return t->queued < QUEUE_MAX;
	default:
		return true;
	}
}

/* The thread goes on from where it is; the statistics make no difference. */
static void checkpoint(struct thread *t, const struct thread *after, int i)
{
	memcpy(&t->end, &after->end, sizeof(t->end));
	t->packets = after->packets;
	t->batch = after->batch;
	t->steps = 0;
	memset(t->log, 0, sizeof(t->log));
	if (i == 0)
		t->end.tx.packets = t->end.tx.bytes = 0;
	else
		t->end.rx.packets = t->end.rx.bytes = t->end.rx.fetches = 0;
}

static void op_apply(struct state *s, int i, struct op op, const struct thread *after)
{
	struct thread *t = &s->threads[i];
	uint16_t result = 0;

	switch (op.kind) {
	case LOAD:
		result = load(s, t, op.word);
		break;
	case STORE:
		t->queue[t->queued].word = (uint16_t)op.word;
		t->queue[t->queued++].value = op.value;
		t->last_store = (uint16_t)op.word;
		break;
	case SIGNAL:
		s->threads[!i].bell = true;
		break;
	case WAIT:
		t->bell = false;
		break;
	case CHECKPOINT:
		checkpoint(t, after, i);
		break;
	default:
		break;
	}
	if (t->steps == LOG_MAX)
		abort();
	t->log[t->steps++] = result;
}

static void store_flush(struct state *s, int i)
{
	struct thread *t = &s->threads[i];

	s->words[t->queue[0].word] = t->queue[0].value;
	t->queued--;
	memmove(t->queue, t->queue + 1, t->queued * sizeof(t->queue[0]));
	memset(t->queue + t->queued, 0, sizeof(t->queue[0]));
}

/* -- All states ----------------------------------------------------------- */

#define SEEN_SLOTS (1u << 22)
static uint64_t *seen; /* states by their hash: 2^64 of them are as good as unique */
static unsigned int states, lost;

static bool state_is_new(const struct state *s)
{
	const uint64_t *words = (const uint64_t *)s;
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < sizeof(*s) / 8; i++) {
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15;
		hash ^= hash >> 29;
	}
	hash |= !hash;
	for (size_t i = hash % SEEN_SLOTS;; i = (i + 1) % SEEN_SLOTS) {
		if (seen[i] == hash)
			return false;
		if (seen[i] == 0) {
			seen[i] = hash;
			break;
		}
	}
	if (++states > SEEN_SLOTS / 2)
		abort();
	return true;
}

static void explore(const struct state *s)
{
	bool stuck = true, done = true;
	struct state then;

	if (!state_is_new(s) || (lost && broken != OTHER))
		return; /* without a fence one loss is enough */
	for (int i = 0; i < 2; i++) {
		struct thread after;
		struct op op = thread_next(s, i, &after);

		done = done && op.kind == DONE;
		if (op_enabled(&s->threads[i], op)) {
			stuck = false;
			memcpy(&then, s, sizeof(then));
			op_apply(&then, i, op, &after);
			explore(&then);
		}
		if (s->threads[i].queued > 0) {
			stuck = false;
			memcpy(&then, s, sizeof(then));
			store_flush(&then, i);
			explore(&then);
		}
	}
	if (stuck && !done)
		lost++;
}

/* Both ends start on an empty ring. Returns the number of states in which a wake-up was
 * lost. */
static unsigned int config_explore(const struct config *c, enum word without)
{
	struct vmbus_ring_memory mem = {.control = &control, .data = data, .size = RING_BYTES};
	static struct state s;

	config = c;
	broken = without;
	memset(&s, 0, sizeof(s));
	memset(seen, 0, SEEN_SLOTS * sizeof(*seen));
	s.words[MASK] = !c->unmasked;
	s.threads[0].end.tx.mem = mem;
	s.threads[1].end.rx.mem = mem;
	s.threads[0].last_store = s.threads[1].last_store = WORDS;
	states = lost = 0;
	explore(&s);
	return lost;
}

int main(void)
{
	unsigned int failed = 0;

	seen = malloc(SEEN_SLOTS * sizeof(*seen));
	if (!seen)
		return 77;
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
		bool bad = config_explore(&configs[i], OTHER) > 0;

		printf("%s: %u states, %u lose a wake-up\n", configs[i].name, states, lost);
		failed += bad;
	}
	for (enum word word = IN; word <= PENDING; word++) {
		unsigned int bad = 0;

		for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++)
			bad += config_explore(&configs[i], word);
		printf("without the fence behind %s: %u configurations lose a wake-up\n", word_names[word],
		       bad);
		failed += bad == 0;
	}
	free(seen);
	return failed > 0;
}
