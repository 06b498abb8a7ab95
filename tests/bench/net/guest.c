// The first program of the Linux guest. It does what Nacre's kernel does by itself: it mounts, loads drivers, configures the
// network, and becomes the program. Lines of /guest tell it how: a word, a blank, and the rest.
//
//   module PATH       a driver to load, in order
//   address A.B.C.D   of eth0
//   mask A.B.C.D
//   gateway A.B.C.D
//   mount SOURCE TARGET TYPE
//   directory PATH    where the program starts
//   env NAME=VALUE
//   argument TEXT     the first is the program's path
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 64 };

static char *environment[WORDS_MAX + 1], *arguments[WORDS_MAX + 1];
static int control;

static void complain(const char *what)
{
	perror(what);
}

static void load_module(const char *path)
{
	int file = open(path, O_RDONLY);
	if (file < 0 || syscall(SYS_finit_module, file, "", 0))
		complain(path);
	close(file);
}

static struct ifreq request_for(const char *name)
{
	struct ifreq request = { 0 };
	strcpy(request.ifr_name, name);
	return request;
}

static void set_address(unsigned long operation, const char *text)
{
	struct ifreq request = request_for("eth0");
	struct sockaddr_in *address = (struct sockaddr_in *)&request.ifr_addr;
	address->sin_family = AF_INET;
	inet_pton(AF_INET, text, &address->sin_addr);
	if (ioctl(control, operation, &request))
		complain(text);
}

static void raise_interface(const char *name)
{
	struct ifreq request = request_for(name);
	// A driver may take a moment to find its device.
	for (int tries = 0; ioctl(control, SIOCGIFFLAGS, &request); tries++) {
		if (tries == 100) {
			complain(name);
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	if (ioctl(control, SIOCSIFFLAGS, &request))
		complain(name);
}

static void set_gateway(const char *text)
{
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY };
	struct sockaddr_in *gateway = (struct sockaddr_in *)&route.rt_gateway;
	route.rt_dst.sa_family = AF_INET;
	route.rt_genmask.sa_family = AF_INET;
	gateway->sin_family = AF_INET;
	inet_pton(AF_INET, text, &gateway->sin_addr);
	if (ioctl(control, SIOCADDRT, &route))
		complain(text);
}

// The device may take a moment to be found.
static void mount_disk(const char *rest)
{
	char source[256], target[256], type[64];
	if (sscanf(rest, "%255s %255s %63s", source, target, type) != 3) {
		fprintf(stderr, "mount %s?\n", rest);
		return;
	}
	mkdir(target, 0755);
	for (int tries = 0; mount(source, target, type, 0, NULL); tries++) {
		if (tries == 100) {
			complain(rest);
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	}
}

static void add(char **list, const char *text)
{
	int count = 0;
	while (list[count])
		count++;
	if (count < WORDS_MAX)
		list[count] = strdup(text);
}

static void do_line(const char *word, const char *rest)
{
	if (!strcmp(word, "module"))
		load_module(rest);
	else if (!strcmp(word, "address"))
		raise_interface("eth0"), set_address(SIOCSIFADDR, rest);
	else if (!strcmp(word, "mask"))
		set_address(SIOCSIFNETMASK, rest);
	else if (!strcmp(word, "gateway"))
		set_gateway(rest);
	else if (!strcmp(word, "mount"))
		mount_disk(rest);
	else if (!strcmp(word, "directory") && chdir(rest))
		complain(rest);
	else if (!strcmp(word, "env"))
		add(environment, rest);
	else if (!strcmp(word, "argument"))
		add(arguments, rest);
}

int main(void)
{
	char line[4096];
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	raise_interface("lo");
	FILE *file = fopen("/guest", "re");
	if (!file) {
		complain("/guest");
		return 1;
	}
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		char *rest = strchr(line, ' ');
		if (rest) {
			*rest++ = 0;
			do_line(line, rest);
		}
	}
	fclose(file);
	execve(arguments[0], arguments, environment);
	complain(arguments[0]);
	return 1;
}
