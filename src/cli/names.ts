import { type Client, MintmarkError } from '@mintmark/sdk'
import { CliError, wrongUsage } from './failure.ts'

const ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The id of a user given by name or id: no name looks like an id. */
export async function userIdOf(client: Client, nameOrId: string): Promise<string> {
  if (ID.test(nameOrId)) return nameOrId
  try {
    const [user] = (await client.users.list({ username: nameOrId })).items
    if (user !== undefined) return user.id
  } catch (cause) {
    if (!(cause instanceof MintmarkError && cause.code === 'not_found')) throw cause
  }
  throw new CliError('not_found', `There is no user "${nameOrId}". See: mintmark user list`)
}

/** The id of a group given by name or id. */
export async function groupIdOf(client: Client, nameOrId: string): Promise<string> {
  if (ID.test(nameOrId)) return nameOrId
  const key = keyOf(nameOrId)
  for await (const group of client.groups.listAll({ text: nameOrId, limit: 1000 })) {
    if (keyOf(group.name) === key) return group.id
  }
  throw new CliError('not_found', `There is no group "${nameOrId}". See: mintmark group list`)
}

/** The id of an OAuth client given by client id or id. */
export async function clientIdOf(client: Client, clientIdOrId: string): Promise<string> {
  return ID.test(clientIdOrId) ? clientIdOrId : (await client.clients.get(clientIdOrId)).id
}

/** As the server compares names. */
function keyOf(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

/** Tokens have no unique name, so only an id will do. */
export function tokenId(text: string): string {
  if (ID.test(text)) return text
  // Not repeating it: people paste secrets here.
  throw wrongUsage("This is not a token's id. Find it with: mintmark token list --text <name>")
}

/** The same, or `self`: the token in use. */
export async function tokenIdOf(client: Client, text: string): Promise<string> {
  return text === 'self' ? (await client.tokens.self()).id : tokenId(text)
}

/** Nor has a job. */
export function jobId(text: string): string {
  if (ID.test(text)) return text
  throw wrongUsage("This is not a job's id. Find it with: mintmark job list")
}

/** A grant has no name at all. */
export function grantId(text: string): string {
  if (ID.test(text)) return text
  throw wrongUsage("This is not a grant's id. Find it with: mintmark grant list")
}

/** Nor have webhooks and what was sent to them. */
export function webhookId(text: string): string {
  if (ID.test(text)) return text
  throw wrongUsage("This is not a webhook's id. Find it with: mintmark webhook list")
}

export function deliveryId(text: string): string {
  if (ID.test(text)) return text
  throw wrongUsage("This is not a delivery's id. Find it with: mintmark webhook deliveries")
}
