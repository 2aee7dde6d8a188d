import { nobody } from '../../authenticators/null.ts'
import { authenticatorContract } from '../contracts/authenticator.ts'

authenticatorContract('null', () => ({ driver: nobody, options: {} }))
