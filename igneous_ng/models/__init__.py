"""What tells cells apart in an image: filters, trees and networks behind one face."""
