// The shapes of the HTTP API by the names the pages use. They come from the API's own description; only lists, which
// are described once per kind of item, are put together here.

import type { components } from './schema';

type Schemas = components['schemas'];

export type Agents = Schemas['Agents'];
export type Call = Schemas['Call'];
export type CallSummary = Schemas['CallSummary'];
export type ListedCall = Schemas['ListedCall'];
export type CreatedLink = Schemas['MadeLink'];
export type CustomerView = Schemas['CustomerView'];
export type Kind = Schemas['Kind'];
export type LadderData = Schemas['Ladder'];
export type LadderRow = Schemas['LadderRow'];
export type Link = Schemas['Link'];
export type Login = Schemas['Login'];
export type Me = Schemas['Me'];
export type Message = Schemas['Message'];
export type NewLink = Schemas['NewLink'];
export type Outcome = Schemas['Outcome'];
export type Peers = Schemas['Peers'];
export type Quarantine = Schemas['Quarantine'];
export type Quarantined = Schemas['Quarantined'];
export type Session = Schemas['Session'];
export type Transport = Schemas['Transport'];

export type Page<T> = Omit<Schemas['Listing_ListedCall'], 'items'> & { items: T[] };
