/* SPDX-License-Identifier: MIT */
/* state-dot connection|channel: the state machine of that name, from the table that the code
 * checks its moves with, as a picture for graphviz. */
#include <stdio.h>
#include <string.h>

#include "server.h"

static void node_print(const char *name, const char *comment)
{
	printf("\t\"%s\" [label=<<b>%s</b><br/>", name, name);
	for (unsigned int column = 0; *comment; comment++) {
		/* wrapped at a blank: boxes, not lines */
		if (*comment == ' ' && column > 20) {
			printf("<br/>");
			column = 0;
			continue;
		}
		putchar(*comment);
		column++;
	}
	printf(">];\n");
}

static void begin(const char *name)
{
	printf("// made by tests/libvmbus/state-dot: see docs/Makemodule.am\n"
	       "digraph %s {\n"
	       "\tnode [shape=box, style=rounded, fontname=\"sans-serif\", fontsize=11];\n",
	       name);
}

static void connection_print(void)
{
	const struct connection_state_row *rows = vmbus_connection_states;

	begin("connection");
	for (int from = 0; from < CONNECTION_STATES; from++)
		node_print(rows[from].name, rows[from].comment);
	for (int from = 0; from < CONNECTION_STATES; from++)
		for (int to = 0; to < CONNECTION_STATES; to++)
			if (rows[from].to & STATE(to))
				printf("\t\"%s\" -> \"%s\";\n", rows[from].name, rows[to].name);
	printf("}\n");
}

static void channel_print(void)
{
	const struct channel_state_row *rows = vmbus_channel_states;

	begin("channel");
	for (int from = 0; from < CHANNEL_STATES; from++)
		node_print(rows[from].name, rows[from].comment);
	for (int from = 0; from < CHANNEL_STATES; from++)
		for (int to = 0; to < CHANNEL_STATES; to++)
			if (rows[from].to & STATE(to))
				printf("\t\"%s\" -> \"%s\";\n", rows[from].name, rows[to].name);
	printf("}\n");
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "connection") == 0)
		connection_print();
	else if (argc == 2 && strcmp(argv[1], "channel") == 0)
		channel_print();
	else
		return fprintf(stderr, "usage: state-dot connection|channel\n"), 2;
	return 0;
}
