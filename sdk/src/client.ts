import { audit } from './audit.ts'
import { groups } from './groups.ts'
import { type ClientOptions, sender } from './http.ts'
import { policy } from './policy.ts'
import { roles } from './roles.ts'
import { session } from './session.ts'
import { tokens } from './tokens.ts'
import { users } from './users.ts'

/** A client of one server and one token. All of its failures are `MintmarkError`s. */
export function createClient(options: ClientOptions) {
  const send = sender(options)
  return {
    session: session(send),
    tokens: tokens(send),
    users: users(send),
    groups: groups(send),
    roles: roles(send),
    policy: policy(send),
    audit: audit(send),
  }
}

export type Client = ReturnType<typeof createClient>
