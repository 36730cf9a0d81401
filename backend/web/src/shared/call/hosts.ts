import { splitAddress } from '../ladder/model';

/** `10.0.0.1:5060, 10.0.0.2:5060`; on one machine the address is said once: `127.0.0.1 :5070 :5060`. */
export function hostsText(hosts: string[]): string {
  const split = hosts.map(splitAddress);
  const first = split[0]?.host;
  if (first !== undefined && split.length > 1 && split.every((part) => part.host === first && part.port)) {
    return `${first} ${split.map((part) => `:${part.port}`).join(' ')}`;
  }
  return hosts.join(', ');
}
