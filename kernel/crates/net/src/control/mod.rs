//! What belongs to no flow: ARP, neighbour discovery, ICMP, fragments, configuration. Runs in the workers.
