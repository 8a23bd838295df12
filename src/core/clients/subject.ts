import { createHmac } from 'node:crypto'
import type { User } from '../users/user.ts'
import type { SubjectMode } from './client.ts'

/**
 * What `sub` says of a user to a client, in authentik's modes. Somebody without an email or UPN is
 * named by the next best thing that is unique.
 */
export function subjectOf(user: User, mode: SubjectMode, key: Buffer): string {
  switch (mode) {
    case 'hashed_user_id':
      return createHmac('sha256', key).update(user.id).digest('hex')
    case 'user_id':
      return String(user.serial)
    case 'user_uuid':
      return user.id
    case 'user_username':
      return user.username
    case 'user_email':
      return user.email ?? user.id
    case 'user_upn':
      return upnOf(user)
  }
}

/** The user principal name that the organisation keeps about the user. */
function upnOf({ attributes, email, id }: User): string {
  return typeof attributes.upn === 'string' && attributes.upn !== ''
    ? attributes.upn
    : (email ?? id)
}
