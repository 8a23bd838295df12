import { audit } from './audit.ts'
import { clients } from './clients.ts'
import { events } from './events.ts'
import { grants } from './grants.ts'
import { groups } from './groups.ts'
import { type ClientOptions, sender, streamer } from './http.ts'
import { imports } from './imports.ts'
import { jobs } from './jobs.ts'
import { keys } from './keys.ts'
import { leaks } from './leaks.ts'
import { nodes } from './nodes.ts'
import { policy } from './policy.ts'
import { roles } from './roles.ts'
import { session } from './session.ts'
import { tokens } from './tokens.ts'
import { users } from './users.ts'
import { deliveries, webhooks } from './webhooks.ts'

/** A client of one server and one token. All of its failures are `MintmarkError`s. */
export function createClient(options: ClientOptions) {
  const send = sender(options)
  const stream = streamer(options)
  return {
    session: session(send),
    tokens: tokens(send, stream),
    users: users(send),
    groups: groups(send),
    roles: roles(send),
    clients: clients(send),
    grants: grants(send),
    jobs: jobs(send),
    policy: policy(send, stream),
    imports: imports(send),
    keys: keys(send),
    nodes: nodes(send),
    audit: audit(send),
    events: events(send, streamer(options)),
    webhooks: webhooks(send),
    deliveries: deliveries(send),
    leaks: leaks(send),
  }
}

export type Client = ReturnType<typeof createClient>
